namespace DispLlm.Modeling;

/// <summary>Reads what many families write alike in <c>config.json</c>, under its old and its new keys. Thread-safe.</summary>
public static partial class ConfigReader
{
    private static readonly Dictionary<string, Activation> s_activations = new(StringComparer.Ordinal)
    {
        ["silu"] = Activation.Silu,
        ["swish"] = Activation.Silu,
        ["gelu"] = Activation.Gelu,
        ["gelu_new"] = Activation.GeluTanh,
        ["gelu_fast"] = Activation.GeluTanh,
        ["gelu_pytorch_tanh"] = Activation.GeluTanh,
        ["relu"] = Activation.Relu,
    };

    /// <summary>
    /// Reads how attention is split into heads: <c>num_attention_heads</c>, <c>num_key_value_heads</c> (absent: as many) and
    /// <c>head_dim</c> (absent: <c>hidden_size / num_attention_heads</c>).
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    /// <exception cref="UnsupportedModelException">The numbers do not divide; the key is named.</exception>
    public static (int NumAttentionHeads, int NumKeyValueHeads, int HeadDim) ReadHeads(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        int hidden = config.GetPositiveInt("hidden_size");
        int heads = config.GetPositiveInt("num_attention_heads");
        int keyValueHeads = config.GetPositiveInt("num_key_value_heads", heads);
        if (!config.Has("head_dim") && hidden % heads != 0)
        {
            throw config.Unsupported("num_attention_heads", $"hidden_size {hidden} is not a multiple of it, and there is no head_dim");
        }

        return heads % keyValueHeads == 0
            ? (heads, keyValueHeads, config.GetPositiveInt("head_dim", Math.Max(1, hidden / heads)))
            : throw config.Unsupported("num_key_value_heads", $"num_attention_heads {heads} is not a multiple of it");
    }

    /// <summary>Reads the MLP's activation.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="key">The key that names it, such as <c>hidden_act</c>.</param>
    /// <param name="fallback">The name that an absent key means.</param>
    /// <exception cref="UnsupportedModelException">The decoder does not compute the activation; it is named.</exception>
    public static Activation ReadActivation(ModelConfig config, string key, string fallback)
    {
        ArgumentNullException.ThrowIfNull(config);
        return s_activations.TryGetValue(config.GetString(key, fallback), out var activation)
            ? activation
            : throw config.Unsupported(key, $"known are {string.Join(", ", s_activations.Keys)}");
    }
}
