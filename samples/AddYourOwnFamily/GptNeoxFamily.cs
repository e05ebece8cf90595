using System.Globalization;
using DispLlm;
using DispLlm.Checkpoints;
using DispLlm.Modeling;

namespace AddYourOwnFamily;

/// <summary>
/// GPT-NeoX-20B and the Pythia models: attention and MLP side by side, each from a norm of its own; a quarter of each head rotated; queries,
/// keys and values of a head stored together in one projection.
/// </summary>
public sealed class GptNeoxFamily : IModelFamily
{
    public string Name => "gpt-neox";

    public IReadOnlyCollection<string> ModelTypes { get; } = ["gpt_neox"];

    // Registration tries the family on this: a spec that contradicts itself or a name given twice is found there and then.
    public ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gpt_neox", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
         "vocab_size": 50304, "max_position_embeddings": 2048, "rotary_pct": 0.25, "rotary_emb_base": 10000, "use_parallel_residual": true}
        """,
        "Pythia-160M");

    // GPTNeoXModel saves its tensors without this prefix, GPTNeoXForCausalLM with it.
    public string BaseModelPrefix => "gpt_neox.";

    public DecoderSpec ReadSpec(ModelConfig config)
    {
        var heads = HeadConfig.Read(config);
        bool attentionBias = config.GetBool("attention_bias", true);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = config.GetPositiveInt("hidden_size"),
            NumLayers = config.GetPositiveInt("num_hidden_layers"),
            NumAttentionHeads = heads.NumAttentionHeads,
            NumKeyValueHeads = heads.NumKeyValueHeads,
            HeadDim = heads.HeadDim,
            IntermediateSize = config.GetPositiveInt("intermediate_size"),
            GatedMlp = false,
            Activation = ActivationConfig.Read(config, "hidden_act", "gelu"),
            Norm = NormKind.LayerNorm,
            NormEpsilon = config.GetPositiveDouble("layer_norm_eps", 1e-5),
            Residual = config.GetBool("use_parallel_residual", true) ? ResidualLayout.Parallel : ResidualLayout.Sequential,
            MaxPositions = config.GetPositiveInt("max_position_embeddings", 2048),
            Rotary = RotaryConfig.Read(config, heads.HeadDim, defaultFraction: 0.25),
            QueryKeyValueLayout = QueryKeyValueLayout.FusedByHead,
            QueryKeyValueBias = attentionBias,
            AttentionOutputBias = attentionBias,
            MlpBias = true,
            TieWordEmbeddings = config.GetBool("tie_word_embeddings", false),
        };
    }

    public string ModuleName(WeightRole role, int block)
    {
        string layer = string.Create(CultureInfo.InvariantCulture, $"gpt_neox.layers.{block}.");
        return role switch
        {
            WeightRole.TokenEmbedding => "gpt_neox.embed_in",
            WeightRole.AttentionNorm => layer + "input_layernorm",
            WeightRole.QueryKeyValue => layer + "attention.query_key_value",
            WeightRole.AttentionOutput => layer + "attention.dense",
            WeightRole.MlpNorm => layer + "post_attention_layernorm",
            WeightRole.MlpUp => layer + "mlp.dense_h_to_4h",
            WeightRole.MlpDown => layer + "mlp.dense_4h_to_h",
            WeightRole.FinalNorm => "gpt_neox.final_layer_norm",
            WeightRole.Head => "embed_out",
            _ => throw new ArgumentOutOfRangeException(nameof(role), role, "Not a weight of this family."),
        };
    }

    // The published checkpoints carry the causal mask and the rotary table, which are computed.
    public bool IsIgnorable(string tensorName) =>
        tensorName.EndsWith(".attention.bias", StringComparison.Ordinal)
        || tensorName.EndsWith(".attention.masked_bias", StringComparison.Ordinal)
        || tensorName.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);
}
