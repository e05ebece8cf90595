namespace DispLlm.Modeling;

/// <summary>
/// GPT-2: learned positions, layer norms, a plain MLP, weights stored as <c>[in, out]</c>, a tied head. Immutable and safe from several
/// threads.
/// </summary>
public class Gpt2Family : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        HiddenSize = "n_embd",
        NumLayers = "n_layer",
        NumAttentionHeads = "n_head",
        MaxPositions = "n_positions",
        DefaultMaxPositions = 1024,
        IntermediateSize = "n_inner",
        DefaultIntermediateFactor = 4,
        Activation = "activation_function",
        DefaultActivation = "gelu_new",
        NormEpsilon = "layer_norm_epsilon",
        DefaultNormEpsilon = 1e-5,
        RotaryTheta = "",
        DefaultTieWordEmbeddings = true,
    };

    /// <inheritdoc/>
    public override string Name => "gpt2";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "n_inner": null, "vocab_size": 50257,
         "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
        """,
        "GPT-2");

    /// <inheritdoc/>
    public override string BaseModelPrefix => "transformer.";

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = new Dictionary<WeightRole, string>
    {
        [WeightRole.TokenEmbedding] = "transformer.wte",
        [WeightRole.PositionEmbedding] = "transformer.wpe",
        [WeightRole.AttentionNorm] = "transformer.h.{0}.ln_1",
        [WeightRole.Query] = "transformer.h.{0}.attn.c_attn",
        [WeightRole.Key] = "transformer.h.{0}.attn.c_attn",
        [WeightRole.Value] = "transformer.h.{0}.attn.c_attn",
        [WeightRole.AttentionOutput] = "transformer.h.{0}.attn.c_proj",
        [WeightRole.MlpNorm] = "transformer.h.{0}.ln_2",
        [WeightRole.MlpUp] = "transformer.h.{0}.mlp.c_fc",
        [WeightRole.MlpDown] = "transformer.h.{0}.mlp.c_proj",
        [WeightRole.FinalNorm] = "transformer.ln_f",
        [WeightRole.Head] = "lm_head",
    };

    // The causal mask, which is computed.
    /// <inheritdoc/>
    protected override IReadOnlyCollection<string> IgnorableSuffixes => [".attn.bias", ".attn.masked_bias"];

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ReadDecoder(config, s_keys) with
        {
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            LearnedPositions = new LearnedPositionsSpec(),
            TransposedProjections = true,
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            MlpBias = true,
        };
    }
}
