namespace DispLlm.Tests.Conformance;

public sealed class PhiConformanceTests : FamilyConformance<PhiConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("phi")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["phi-1.5-style", "phi-2-style", "phi-qk-norm-gqa"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new("Phi-1.5", Config(2048, 24, 0.5), 1_418_270_720),
        new("Phi-2", Config(2560, 32, 0.4), 2_779_683_840),
    ];

    private static string Config(int hidden, int blocks, double rotated) =>
        FormattableString.Invariant(
            $$"""
            {"model_type": "phi", "hidden_size": {{hidden}}, "intermediate_size": {{4 * hidden}}, "num_hidden_layers": {{blocks}},
             "num_attention_heads": 32, "vocab_size": 51200, "max_position_embeddings": 2048, "partial_rotary_factor": {{rotated}},
             "hidden_act": "gelu_new"}
            """);
}
