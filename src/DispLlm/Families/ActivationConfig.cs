namespace DispLlm.Modeling;

/// <summary>Reads the MLP's nonlinearity under the names that configurations use.</summary>
public static class ActivationConfig
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

    /// <summary>Reads an activation.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="key">The key that names it, such as <c>hidden_act</c>.</param>
    /// <param name="fallback">The name that an absent key means.</param>
    /// <exception cref="UnsupportedModelException">An activation that is not computed here; it is named.</exception>
    public static Activation Read(ModelConfig config, string key, string fallback)
    {
        ArgumentNullException.ThrowIfNull(config);
        return s_activations.TryGetValue(config.GetString(key, fallback), out var activation)
            ? activation
            : throw config.Unsupported(key, $"known are {string.Join(", ", s_activations.Keys)}");
    }
}
