using DispLlm.Checkpoints;
using DispLlm.Modeling;

namespace AddYourOwnFamily;

/// <summary>
/// GPT-NeoX-20B and the Pythia models: attention and MLP in parallel, each with its own norm; a quarter of each head rotated; queries, keys
/// and values fused into one projection, head by head.
/// </summary>
public sealed class GptNeoxFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultActivation = "gelu",
        NormEpsilon = "layer_norm_eps",
        DefaultNormEpsilon = 1e-5,
        DefaultRotaryFraction = 0.25,
    };

    public override string Name => "gpt-neox";

    public override IReadOnlyCollection<string> ModelTypes { get; } = ["gpt_neox"];

    // Registration tries the family on this: a contradictory spec or a name given twice is found there and then.
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gpt_neox", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
         "vocab_size": 50304, "max_position_embeddings": 2048, "rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": true}
        """,
        "Pythia-160M");

    // GPTNeoXModel saves its tensors without this prefix, GPTNeoXForCausalLM with it.
    public override string BaseModelPrefix => "gpt_neox.";

    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = new Dictionary<WeightRole, string>
    {
        [WeightRole.TokenEmbedding] = "gpt_neox.embed_in",
        [WeightRole.AttentionNorm] = "gpt_neox.layers.{0}.input_layernorm",
        [WeightRole.QueryKeyValue] = "gpt_neox.layers.{0}.attention.query_key_value",
        [WeightRole.AttentionOutput] = "gpt_neox.layers.{0}.attention.dense",
        [WeightRole.MlpNorm] = "gpt_neox.layers.{0}.post_attention_layernorm",
        [WeightRole.MlpUp] = "gpt_neox.layers.{0}.mlp.dense_h_to_4h",
        [WeightRole.MlpDown] = "gpt_neox.layers.{0}.mlp.dense_4h_to_h",
        [WeightRole.FinalNorm] = "gpt_neox.final_layer_norm",
        [WeightRole.Head] = "embed_out",
    };

    // The published checkpoints hold the causal mask and the rotary table, which are computed.
    protected override IReadOnlyCollection<string> IgnorableSuffixes =>
        [".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"];

    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        bool attentionBias = config.GetBool("attention_bias", true);
        return ReadDecoder(config, s_keys) with
        {
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            Residual = config.GetBool("use_parallel_residual", true) ? ResidualLayout.Parallel : ResidualLayout.Sequential,
            QueryKeyValueLayout = QueryKeyValueLayout.FusedByHead,
            QueryKeyValueBias = attentionBias,
            AttentionOutputBias = attentionBias,
            MlpBias = true,
        };
    }
}
