namespace DispLlm.Modeling;

/// <content>Rotary position embedding, in every layout in use.</content>
public static partial class ConfigReader
{
    /// <summary>
    /// Reads the rotary position embedding of a family that rotates whole heads where the configuration does not say how much.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="headDim">Features of one head.</param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    /// <exception cref="UnsupportedModelException">The decoder does not compute the kind of scaling; it is named.</exception>
    public static RotarySpec ReadRotary(ModelConfig config, int headDim) => ReadRotary(config, headDim, defaultFraction: 1);

    /// <summary>
    /// Reads the rotary position embedding: <c>rope_theta</c> (or <c>rotary_emb_base</c>), <c>partial_rotary_factor</c> (or
    /// <c>rotary_pct</c>) and <c>rope_scaling</c> (kind under <c>rope_type</c> or <c>type</c>); or <c>rope_parameters</c> of transformers
    /// 5, which holds them all.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="headDim">Features of one head.</param>
    /// <param name="defaultFraction">
    /// The fraction of each head that is rotated where the configuration does not say it, above 0 and at most 1.
    /// </param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    /// <exception cref="UnsupportedModelException">The decoder does not compute the kind of scaling; it is named.</exception>
    public static RotarySpec ReadRotary(ModelConfig config, int headDim, double defaultFraction)
    {
        ArgumentNullException.ThrowIfNull(config);
        var parameters = config.TryGetSection("rope_parameters");
        var scaling = parameters ?? config.TryGetSection("rope_scaling");
        double theta = ReadFirst(parameters, config, "rope_theta", "rotary_emb_base") ?? 10000.0;
        double fraction = ReadFirst(parameters, config, "partial_rotary_factor", "rotary_pct") ?? defaultFraction;
        int dimensions = (int)(headDim * fraction);
        if (dimensions % 2 != 0)
        {
            throw config.Unsupported(
                config.Has("partial_rotary_factor") ? "partial_rotary_factor" : "head_dim",
                $"features are rotated in pairs, but {dimensions} of each head's {headDim} would be");
        }

        return new RotarySpec(theta, dimensions, scaling is null ? new RotaryScaling.None() : ReadScaling(scaling));
    }

    private static double? ReadFirst(ModelConfig? parameters, ModelConfig config, string key, string olderKey)
    {
        if (parameters is not null && parameters.Has(key))
        {
            return parameters.GetPositiveDouble(key);
        }

        return config.Has(key) ? config.GetPositiveDouble(key) : config.Has(olderKey) ? config.GetPositiveDouble(olderKey) : null;
    }

    private static RotaryScaling ReadScaling(ModelConfig scaling)
    {
        string key = scaling.Has("type") && !scaling.Has("rope_type") ? "type" : "rope_type";
        string kind = scaling.GetString(key);
        return kind switch
        {
            "default" => new RotaryScaling.None(),
            "linear" => new RotaryScaling.Linear(scaling.GetPositiveDouble("factor")),
            "llama3" => ReadLlama3(scaling),
            _ => throw scaling.Unsupported(key, "known are default, linear and llama3"),
        };
    }

    private static RotaryScaling.Llama3 ReadLlama3(ModelConfig scaling)
    {
        double low = scaling.GetPositiveDouble("low_freq_factor");
        double high = scaling.GetPositiveDouble("high_freq_factor");
        return high > low
            ? new(scaling.GetPositiveDouble("factor"), low, high, scaling.GetPositiveInt("original_max_position_embeddings"))
            : throw scaling.Unsupported("high_freq_factor", $"it has to be above low_freq_factor {low}");
    }
}
