using DispLlm.Checkpoints;
using DispLlm.Modeling;

namespace AddYourOwnFamily;

/// <summary>Seed-OSS 36B: LLaMA with biases on queries, keys and values, and heads of 128 features whatever the hidden size.</summary>
public sealed class SeedOssFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new() { DefaultHeadDim = 128, DefaultNumKeyValueHeads = 8 };

    public override string Name => "seed-oss";

    public override IReadOnlyCollection<string> ModelTypes { get; } = ["seed_oss"];

    // Registration tries the family on this: a contradictory spec or a name given twice is found there and then.
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "seed_oss", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 80,
         "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 155136, "max_position_embeddings": 524288, "rope_theta": 10000000.0}
        """,
        "Seed-OSS 36B");

    // Modules that have other names: With(LlamaNames, (WeightRole.AttentionOutput, "model.layers.{0}.self_attn.dense")).
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames => LlamaNames;

    public override DecoderSpec ReadSpec(ModelConfig config) => ReadDecoder(config, s_keys) with
    {
        QueryKeyValueBias = config.GetBool("attention_bias", true),
        AttentionOutputBias = config.GetBool("attention_out_bias", false),
        MlpBias = config.GetBool("mlp_bias", false),
    };
}
