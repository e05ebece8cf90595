namespace DispLlm.Tests.Conformance;

public sealed class MistralConformanceTests : FamilyConformance<MistralConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("mistral")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["mistral-nemo", "mistral-sliding"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Mistral 7B",
            """
            {"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 4096}
            """,
            7_241_732_096),
        new(
            "Mistral Nemo",
            """
            {"model_type": "mistral", "hidden_size": 5120, "intermediate_size": 14336, "num_hidden_layers": 40,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 131072, "max_position_embeddings": 4096,
             "head_dim": 128}
            """,
            12_247_782_400),
    ];
}

public sealed class Qwen2ConformanceTests : FamilyConformance<Qwen2ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("qwen2")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["qwen2", "qwen2-sliding"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Qwen2-0.5B",
            """
            {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
             "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 4096,
             "tie_word_embeddings": true}
            """,
            494_032_768),
        new(
            "Qwen2-7B",
            """
            {"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
             "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 4096}
            """,
            7_615_616_512),
    ];
}

public sealed class Qwen3ConformanceTests : FamilyConformance<Qwen3ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("qwen3")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["qwen3", "qwen3-config-v5"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Qwen3-0.6B",
            """
            {"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
             "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 151936, "max_position_embeddings": 4096,
             "tie_word_embeddings": true}
            """,
            596_049_920),
        new(
            "Qwen3-8B",
            """
            {"model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151936, "max_position_embeddings": 4096}
            """,
            8_190_735_360),
    ];
}

public sealed class Phi3ConformanceTests : FamilyConformance<Phi3ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("phi3")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["phi3-longrope", "phi3-longrope-config-v5", "phi3-sliding"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Phi-3-mini",
            """
            {"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": 4096}
            """,
            3_821_079_552),
        new(
            "Phi-4",
            """
            {"model_type": "phi3", "hidden_size": 5120, "intermediate_size": 17920, "num_hidden_layers": 40,
             "num_attention_heads": 40, "num_key_value_heads": 10, "vocab_size": 100352, "max_position_embeddings": 4096}
            """,
            14_659_507_200),
        new(
            "Phi-4-mini",
            """
            {"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
             "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 200064, "max_position_embeddings": 4096,
             "tie_word_embeddings": true, "partial_rotary_factor": 0.75}
            """,
            3_836_021_760),
    ];
}

public sealed class GemmaConformanceTests : FamilyConformance<GemmaConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("gemma")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["gemma"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Gemma 2B",
            """
            {"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18,
             "num_attention_heads": 8, "num_key_value_heads": 1, "vocab_size": 256000, "max_position_embeddings": 4096}
            """,
            2_506_172_416),
        new(
            "Gemma 7B",
            """
            {"model_type": "gemma", "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
             "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 256000, "max_position_embeddings": 4096}
            """,
            8_537_680_896),
    ];
}

public sealed class Gemma2ConformanceTests : FamilyConformance<Gemma2ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("gemma2")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["gemma2"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Gemma 2 2B",
            """
            {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
             "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 256000, "max_position_embeddings": 4096}
            """,
            2_614_341_888),
        new(
            "Gemma 2 9B",
            """
            {"model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336, "num_hidden_layers": 42,
             "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 256000, "max_position_embeddings": 4096}
            """,
            9_241_705_984),
    ];
}

public sealed class Gemma3ConformanceTests : FamilyConformance<Gemma3ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("gemma3")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["gemma3", "gemma3-config-v5"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Gemma 3 1B",
            """
            {"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26,
             "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 262144, "max_position_embeddings": 4096}
            """,
            999_885_952),
    ];
}
