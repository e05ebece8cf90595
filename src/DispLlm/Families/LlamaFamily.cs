using System.Globalization;

namespace DispLlm;

/// <summary>
/// LLaMA 1, 2 and 3, and the many models built alike (SmolLM2, TinyLlama, ...): RMS norm in front of each sublayer, rotary positions,
/// grouped-query attention, a gated MLP.
/// </summary>
public sealed class LlamaFamily : IModelFamily
{
    private static readonly Dictionary<string, Activation> s_activations = new(StringComparer.Ordinal)
    {
        ["silu"] = Activation.Silu,
        ["swish"] = Activation.Silu,
        ["gelu"] = Activation.Gelu,
        ["gelu_new"] = Activation.GeluTanh,
        ["gelu_pytorch_tanh"] = Activation.GeluTanh,
        ["relu"] = Activation.Relu,
    };

    private static readonly string[] s_factors =
        ["partial_rotary_factor", "embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale"];

    /// <inheritdoc/>
    public string Name => "llama";

    /// <inheritdoc/>
    public IReadOnlyCollection<string> ModelTypes { get; } = ["llama"];

    /// <inheritdoc/>
    public DecoderSpec ReadSpec(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        RefuseWhatChangesTheComputation(config);

        int hidden = config.GetPositiveInt("hidden_size");
        int heads = config.GetPositiveInt("num_attention_heads");
        int keyValueHeads = config.GetPositiveInt("num_key_value_heads", heads);
        int headSize = config.GetPositiveInt("head_dim", Math.Max(1, hidden / heads));
        if (!config.Has("head_dim") && hidden % heads != 0)
        {
            throw config.Unsupported("num_attention_heads", $"hidden_size {hidden} is not a multiple of it, and there is no head_dim");
        }

        if (heads % keyValueHeads != 0)
        {
            throw config.Unsupported("num_key_value_heads", $"num_attention_heads {heads} is not a multiple of it");
        }

        if (headSize % 2 != 0)
        {
            throw config.Unsupported("head_dim", "rotary positions turn pairs of features, so it has to be even");
        }

        bool attentionBias = config.GetBool("attention_bias", false);
        return new DecoderSpec
        {
            VocabularySize = config.GetPositiveInt("vocab_size"),
            HiddenSize = hidden,
            Blocks = config.GetPositiveInt("num_hidden_layers"),
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadSize = headSize,
            MlpSize = config.GetPositiveInt("intermediate_size"),
            GatedMlp = true,
            Activation = ReadActivation(config),
            Norm = NormKind.RootMeanSquare,
            NormEpsilon = config.GetPositiveDouble("rms_norm_eps", 1e-6),
            Rotary = RotaryConfig.Read(config, headSize),
            MaxPositions = config.GetPositiveInt("max_position_embeddings", 2048),
            QueryKeyValueBias = attentionBias,
            AttentionOutputBias = attentionBias,
            MlpBias = config.GetBool("mlp_bias", false),
            TiedHead = config.GetBool("tie_word_embeddings", false),
        };
    }

    /// <inheritdoc/>
    public string ModuleName(WeightRole role, int block)
    {
        string layer = string.Create(CultureInfo.InvariantCulture, $"model.layers.{block}.");
        return role switch
        {
            WeightRole.TokenEmbedding => "model.embed_tokens",
            WeightRole.AttentionNorm => layer + "input_layernorm",
            WeightRole.Query => layer + "self_attn.q_proj",
            WeightRole.Key => layer + "self_attn.k_proj",
            WeightRole.Value => layer + "self_attn.v_proj",
            WeightRole.AttentionOutput => layer + "self_attn.o_proj",
            WeightRole.MlpNorm => layer + "post_attention_layernorm",
            WeightRole.MlpGate => layer + "mlp.gate_proj",
            WeightRole.MlpUp => layer + "mlp.up_proj",
            WeightRole.MlpDown => layer + "mlp.down_proj",
            WeightRole.FinalNorm => "model.norm",
            WeightRole.Head => "lm_head",
            _ => throw new ArgumentOutOfRangeException(nameof(role), role, "Not a weight of this family."),
        };
    }

    /// <inheritdoc/>
    public bool IsHarmlessExtra(string tensorName)
    {
        ArgumentNullException.ThrowIfNull(tensorName);

        // Checkpoints of 2023 carry the rotary table, which is computed; tied checkpoints may carry the head a second time.
        return tensorName.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal);
    }

    private static Activation ReadActivation(ModelConfig config)
    {
        string name = config.GetString("hidden_act", "silu");
        return s_activations.TryGetValue(name, out var activation)
            ? activation
            : throw config.Unsupported("hidden_act", $"known are {string.Join(", ", s_activations.Keys)}");
    }

    /// <summary>Keys of relatives of LLaMA that would be read past in silence, were they not looked for.</summary>
    private static void RefuseWhatChangesTheComputation(ModelConfig config)
    {
        foreach (string key in s_factors)
        {
            if (config.GetDouble(key, 1) != 1)
            {
                throw config.Unsupported(key, "only 1 is computed here");
            }
        }

        if (config.Has("quantization_config"))
        {
            throw config.Unsupported("quantization_config", "quantised weights cannot be cut; take the float checkpoint they were made from");
        }

        if (config.Has("sliding_window"))
        {
            throw config.Unsupported("sliding_window", "attention over a sliding window is not computed here");
        }
    }
}
