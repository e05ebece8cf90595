namespace DispLlm.Modeling;

/// <summary>How attention is split into heads.</summary>
/// <param name="NumAttentionHeads">Query heads.</param>
/// <param name="NumKeyValueHeads">Key-value heads.</param>
/// <param name="HeadDim">Features of one head.</param>
public readonly record struct HeadConfig(int NumAttentionHeads, int NumKeyValueHeads, int HeadDim)
{
    /// <summary>
    /// Reads <c>num_attention_heads</c>, <c>num_key_value_heads</c> (as many, where absent) and <c>head_dim</c> (<c>hidden_size</c> over the number of
    /// heads, where absent).
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <exception cref="UnsupportedModelException">The numbers do not go into each other; the key is named.</exception>
    public static HeadConfig Read(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        int hidden = config.GetPositiveInt("hidden_size");
        int heads = config.GetPositiveInt("num_attention_heads");
        int keyValueHeads = config.GetPositiveInt("num_key_value_heads", heads);
        if (!config.Has("head_dim") && hidden % heads != 0)
        {
            throw config.Unsupported("num_attention_heads", $"hidden_size {hidden} is not a multiple of it, and there is no head_dim");
        }

        if (heads % keyValueHeads != 0)
        {
            throw config.Unsupported("num_key_value_heads", $"num_attention_heads {heads} is not a multiple of it");
        }

        return new HeadConfig(heads, keyValueHeads, config.GetPositiveInt("head_dim", Math.Max(1, hidden / heads)));
    }
}
