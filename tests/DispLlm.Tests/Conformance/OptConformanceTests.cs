namespace DispLlm.Tests.Conformance;

public sealed class OptConformanceTests : FamilyConformance<OptConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("opt")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } =
        ["opt-pre-norm", "opt-350m-style", "opt-no-bias", "opt-bin", "opt-bin-sharded"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new("OPT-125M", Config(768, 12, 12), 125_239_296),
        new("OPT-350M", Config(1024, 24, 16, embedding: 512, normBefore: false), 331_196_416),
        new("OPT-6.7B", Config(4096, 32, 32), 6_658_473_984),
        new("OPT-66B", Config(9216, 64, 72), 65_719_701_504),
    ];

    private static string Config(int hidden, int blocks, int heads, int? embedding = null, bool normBefore = true) =>
        $$"""
        {"model_type": "opt", "hidden_size": {{hidden}}, "ffn_dim": {{4 * hidden}}, "num_hidden_layers": {{blocks}},
         "num_attention_heads": {{heads}}, "vocab_size": 50272, "max_position_embeddings": 2048,
         "word_embed_proj_dim": {{embedding ?? hidden}},
         "do_layer_norm_before": {{(normBefore ? "true" : "false")}}, "activation_function": "relu"}
        """;
}
