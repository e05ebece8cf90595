namespace DispLlm.Tests.Conformance;

public sealed class GptNeoxConformanceTests : FamilyConformance<GptNeoxConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("gpt-neox")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["gpt-neox-parallel", "gpt-neox-serial"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Pythia-160M",
            """
            {"model_type": "gpt_neox", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
             "num_attention_heads": 12, "vocab_size": 50304, "max_position_embeddings": 4096}
            """,
            162_322_944),
        new(
            "Pythia-6.9B",
            """
            {"model_type": "gpt_neox", "hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 32,
             "num_attention_heads": 32, "vocab_size": 50432, "max_position_embeddings": 4096}
            """,
            6_857_302_016),
        new(
            "GPT-NeoX-20B",
            """
            {"model_type": "gpt_neox", "hidden_size": 6144, "intermediate_size": 24576, "num_hidden_layers": 44,
             "num_attention_heads": 64, "vocab_size": 50432, "max_position_embeddings": 4096}
            """,
            20_554_567_680),
    ];
}

public sealed class Olmo2ConformanceTests : FamilyConformance<Olmo2ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("olmo2")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["olmo2"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "OLMo-2 1B",
            """
            {"model_type": "olmo2", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
             "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 100352, "max_position_embeddings": 4096,
             "rope_theta": 500000}
            """,
            1_484_916_736),
        new(
            "OLMo-2 7B",
            """
            {"model_type": "olmo2", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 100352, "max_position_embeddings": 4096,
             "rope_theta": 500000}
            """,
            7_298_617_344),
    ];
}

public sealed class Olmo3ConformanceTests : FamilyConformance<Olmo3ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("olmo3")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["olmo3"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "OLMo-3 7B",
            """
            {"model_type": "olmo3", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 100278, "max_position_embeddings": 4096,
             "rope_theta": 500000}
            """,
            7_298_011_136),
    ];
}

public sealed class SmolLm3ConformanceTests : FamilyConformance<SmolLm3ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("smollm3")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["smollm3"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "SmolLM3 3B",
            """
            {"model_type": "smollm3", "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
             "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 128256, "max_position_embeddings": 4096}
            """,
            3_075_098_624),
    ];
}

public sealed class StableLmConformanceTests : FamilyConformance<StableLmConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("stablelm")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["stablelm", "stablelm-parallel"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "StableLM 2 1.6B",
            """
            {"model_type": "stablelm", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
             "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 100352, "max_position_embeddings": 4096,
             "use_qkv_bias": true}
            """,
            1_644_515_328),
        new(
            "StableLM 2 12B",
            """
            {"model_type": "stablelm", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 100352, "max_position_embeddings": 4096,
             "use_parallel_residual": true, "qk_layernorm": true}
            """,
            12_143_185_920),
    ];
}

public sealed class GraniteConformanceTests : FamilyConformance<GraniteConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("granite")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["granite"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Granite 3.1 2B",
            """
            {"model_type": "granite", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 40,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 49155, "max_position_embeddings": 4096,
             "tie_word_embeddings": true}
            """,
            2_533_531_648),
        new(
            "Granite 3.1 8B",
            """
            {"model_type": "granite", "hidden_size": 4096, "intermediate_size": 12800, "num_hidden_layers": 40,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 49155, "max_position_embeddings": 4096,
             "tie_word_embeddings": true}
            """,
            8_170_848_256),
    ];
}

public sealed class Gpt2ConformanceTests : FamilyConformance<Gpt2ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("gpt2")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["gpt2", "gpt2-published"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "GPT-2",
            """
            {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
            """,
            124_439_808),
        new(
            "GPT-2 XL",
            """
            {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257}
            """,
            1_557_611_200),
    ];
}

public sealed class CohereConformanceTests : FamilyConformance<CohereConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("cohere")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["cohere"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "Aya 23 8B",
            """
            {"model_type": "cohere", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 256000, "max_position_embeddings": 4096,
             "rope_theta": 10000}
            """,
            8_028_033_024),
        new(
            "Command R 35B",
            """
            {"model_type": "cohere", "hidden_size": 8192, "intermediate_size": 22528, "num_hidden_layers": 40,
             "num_attention_heads": 64, "num_key_value_heads": 64, "vocab_size": 256000, "max_position_embeddings": 4096,
             "rope_theta": 8000000}
            """,
            34_980_831_232),
    ];
}

public sealed class Starcoder2ConformanceTests : FamilyConformance<Starcoder2ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("starcoder2")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["starcoder2"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "StarCoder2 3B",
            """
            {"model_type": "starcoder2", "hidden_size": 3072, "intermediate_size": 12288, "num_hidden_layers": 30,
             "num_attention_heads": 24, "num_key_value_heads": 2, "vocab_size": 49152, "max_position_embeddings": 4096,
             "sliding_window": 4096}
            """,
            3_030_371_328),
    ];
}

public sealed class Glm4ConformanceTests : FamilyConformance<Glm4ConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = ModelFamilies.BuiltIn.Find("glm4")!;

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["glm4"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
    [
        new(
            "GLM-4 9B",
            """
            {"model_type": "glm4", "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 40,
             "num_attention_heads": 32, "num_key_value_heads": 2, "vocab_size": 151552, "max_position_embeddings": 4096}
            """,
            9_400_279_040),
    ];
}
