namespace DispLlm.Modeling;

/// <summary>
/// Phi-1, 1.5 and 2: attention and MLP in parallel from one layer norm, a part of each head rotated, a plain MLP, biases everywhere.
/// Immutable and safe from several threads.
/// </summary>
public class PhiFamily : HuggingFaceDecoderFamily
{
    private static readonly DecoderConfigKeys s_keys = new()
    {
        DefaultActivation = "gelu_new",
        NormEpsilon = "layer_norm_eps",
        DefaultNormEpsilon = 1e-5,
        DefaultRotaryFraction = 0.5,
    };

    /// <inheritdoc/>
    public override string Name => "phi";

    /// <inheritdoc/>
    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "phi", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
         "vocab_size": 51200, "max_position_embeddings": 2048, "partial_rotary_factor": 0.5, "hidden_act": "gelu_new"}
        """,
        "Phi-1.5");

    /// <inheritdoc/>
    protected override IReadOnlyDictionary<WeightRole, string> ModuleNames { get; } = With(
        LlamaNames,
        (WeightRole.QueryNorm, "model.layers.{0}.self_attn.q_layernorm"),
        (WeightRole.KeyNorm, "model.layers.{0}.self_attn.k_layernorm"),
        (WeightRole.AttentionOutput, "model.layers.{0}.self_attn.dense"),
        (WeightRole.MlpUp, "model.layers.{0}.mlp.fc1"),
        (WeightRole.MlpDown, "model.layers.{0}.mlp.fc2"),
        (WeightRole.FinalNorm, "model.final_layernorm"));

    /// <inheritdoc/>
    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        return ReadDecoder(config, s_keys) with
        {
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            Residual = ResidualLayout.ParallelSharedNorm,
            QueryKeyNorm = config.GetBool("qk_layernorm", false) ? QueryKeyNorm.SharedByHeads : QueryKeyNorm.None,
            QueryKeyNormBias = true,
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            MlpBias = true,
            HeadBias = true,
        };
    }
}
