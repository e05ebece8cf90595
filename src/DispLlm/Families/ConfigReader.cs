namespace DispLlm.Modeling;

/// <summary>Reads what many families write alike in <c>config.json</c>, under its old and its new keys. Thread-safe.</summary>
public static partial class ConfigReader
{
    private const int MostBlocks = 1 << 16;

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
    /// Reads how attention is split into heads: <c>num_attention_heads</c>, <c>num_key_value_heads</c> and <c>head_dim</c>, or the keys
    /// that a family has for them. A <c>null</c> for the key-value heads means as many as there are query heads, in every family.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="keys">The family's keys and defaults.</param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    /// <exception cref="UnsupportedModelException">The numbers do not divide; the key is named.</exception>
    public static (int NumAttentionHeads, int NumKeyValueHeads, int HeadDim) ReadHeads(ModelConfig config, DecoderConfigKeys keys)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(keys);
        int hidden = config.GetPositiveInt(keys.HiddenSize);
        int heads = config.GetPositiveInt(keys.NumAttentionHeads);
        int keyValueHeads = config.GetPositiveInt(
            "num_key_value_heads", config.IsNull("num_key_value_heads") ? heads : keys.DefaultNumKeyValueHeads ?? heads);
        if (!config.Has("head_dim") && keys.DefaultHeadDim is null && hidden % heads != 0)
        {
            throw config.Unsupported(
                keys.NumAttentionHeads, $"{keys.HiddenSize} {hidden} is not a multiple of it, and there is no head_dim");
        }

        return heads % keyValueHeads == 0
            ? (heads, keyValueHeads, config.GetPositiveInt("head_dim", keys.DefaultHeadDim ?? Math.Max(1, hidden / heads)))
            : throw config.Unsupported("num_key_value_heads", $"{keys.NumAttentionHeads} {heads} is not a multiple of it");
    }

    /// <summary>Reads which blocks attend over a sliding window: <c>layer_types</c>.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="blocks">Number of blocks.</param>
    /// <param name="slides">Whether a block slides where the key is absent.</param>
    /// <exception cref="CheckpointException">The list has another length, or there are more blocks than any model has.</exception>
    /// <exception cref="UnsupportedModelException">A layer is of another kind; it is named.</exception>
    public static IReadOnlyList<bool> ReadSlidingLayers(ModelConfig config, int blocks, Func<int, bool> slides)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(slides);
        const string Key = "layer_types", Full = "full_attention", Sliding = "sliding_attention";
        if (config.Has(Key))
        {
            var kinds = config.GetStrings(Key);
            return kinds.Count != blocks ? throw config.Invalid(Key, $"A kind for each of the {blocks} blocks is expected.")
                : kinds.All(kind => kind is Full or Sliding) ? [.. kinds.Select(kind => kind == Sliding)]
                : throw config.Unsupported(Key, $"known are {Full} and {Sliding}");
        }

        return ForEachBlock(config, blocks, slides);
    }

    /// <summary>A list of what each block is; of a damaged number of blocks none is made.</summary>
    internal static IReadOnlyList<T> ForEachBlock<T>(ModelConfig config, int blocks, Func<int, T> create) => blocks <= MostBlocks
        ? [.. Enumerable.Range(0, blocks).Select(create)]
        : throw config.Invalid("num_hidden_layers", $"At most {MostBlocks} blocks are read.");

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
