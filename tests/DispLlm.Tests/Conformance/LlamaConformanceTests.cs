namespace DispLlm.Tests.Conformance;

public sealed class LlamaConformanceTests : FamilyConformance<LlamaConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("llama")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } =
    [
        "llama-mha", "llama-2023", "llama-gqa-biases-tied", "llama-rope-linear", "llama-rope-llama3", "llama-config-v5",
        "llama-sharded-bf16",
    ];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new("LLaMA-2 7B", Config(4096, 11008, 32, 32, 32, 32000), 6_738_415_616),
        new("LLaMA-2 13B", Config(5120, 13824, 40, 40, 40, 32000), 13_015_864_320),
        new("LLaMA-2 70B", Config(8192, 28672, 80, 64, 8, 32000), 68_976_648_192),
        new("LLaMA-3 8B", Config(4096, 14336, 32, 32, 8, 128256), 8_030_261_248),
        new("SmolLM2-135M", Config(576, 1536, 30, 9, 3, 49152, tied: true), 134_515_008),
    ];

    private static string Config(int hidden, int mlp, int blocks, int heads, int keyValueHeads, int vocabulary, bool tied = false) =>
        $$"""
        {"model_type": "llama", "hidden_size": {{hidden}}, "intermediate_size": {{mlp}}, "num_hidden_layers": {{blocks}},
         "num_attention_heads": {{heads}}, "num_key_value_heads": {{keyValueHeads}}, "vocab_size": {{vocabulary}},
         "max_position_embeddings": 4096, "tie_word_embeddings": {{(tied ? "true" : "false")}}}
        """;
}
