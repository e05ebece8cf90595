using AddYourOwnFamily;

namespace DispLlm.Tests.Conformance;

/// <summary>A family that the library does not know, defined in a sample, holds what the library's own families hold.</summary>
public sealed class GptNeoxConformanceTests : FamilyConformance<GptNeoxConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = new GptNeoxFamily();

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["gpt-neox-parallel"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new("Pythia-160M", Config(768, 12, 12, 50304), 162_322_944),
        new("Pythia-6.9B", Config(4096, 32, 32, 50432), 6_857_302_016),
        new("GPT-NeoX-20B", Config(6144, 44, 64, 50432), 20_554_567_680),
    ];

    private static string Config(int hidden, int blocks, int heads, int vocabulary) =>
        $$"""
        {"model_type": "gpt_neox", "hidden_size": {{hidden}}, "intermediate_size": {{4 * hidden}}, "num_hidden_layers": {{blocks}},
         "num_attention_heads": {{heads}}, "vocab_size": {{vocabulary}}, "max_position_embeddings": 2048, "rotary_pct": 0.25,
         "use_parallel_residual": true, "hidden_act": "gelu"}
        """;
}

public sealed class Qwen2ConformanceTests : FamilyConformance<Qwen2ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = new Qwen2Family();

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["qwen2"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new("Qwen2-0.5B", Config(896, 4864, 24, 14, 2, 151936, tied: true), 494_032_768),
        new("Qwen2-7B", Config(3584, 18944, 28, 28, 4, 152064, tied: false), 7_615_616_512),
    ];

    private static string Config(int hidden, int mlp, int blocks, int heads, int keyValueHeads, int vocabulary, bool tied) =>
        $$"""
        {"model_type": "qwen2", "hidden_size": {{hidden}}, "intermediate_size": {{mlp}}, "num_hidden_layers": {{blocks}},
         "num_attention_heads": {{heads}}, "num_key_value_heads": {{keyValueHeads}}, "vocab_size": {{vocabulary}},
         "max_position_embeddings": 32768, "sliding_window": 32768, "use_sliding_window": false,
         "tie_word_embeddings": {{(tied ? "true" : "false")}}}
        """;
}
