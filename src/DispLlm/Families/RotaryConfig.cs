namespace DispLlm.Modeling;

/// <summary>
/// Reads rotary positions from any of the layouts in use: <c>rope_theta</c> (once <c>rotary_emb_base</c>) with <c>rope_scaling</c> (kind under
/// <c>type</c> or <c>rope_type</c>) and <c>partial_rotary_factor</c> (once <c>rotary_pct</c>), or transformers 5's <c>rope_parameters</c>
/// that holds them all.
/// </summary>
public static class RotaryConfig
{
    /// <summary>Reads the rotary part of a configuration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="headSize">Features of one head.</param>
    /// <param name="defaultFraction">How much of each head is rotated where the configuration does not say it. Default: all of it.</param>
    /// <exception cref="UnsupportedModelException">A kind of scaling that is not computed here; it is named.</exception>
    public static RotarySpec Read(ModelConfig config, int headSize, double defaultFraction = 1)
    {
        ArgumentNullException.ThrowIfNull(config);
        var parameters = config.TryGetSection("rope_parameters");
        var scaling = parameters ?? config.TryGetSection("rope_scaling");
        double theta = ReadFirst(parameters, config, "rope_theta", "rotary_emb_base") ?? 10000.0;
        double fraction = ReadFirst(parameters, config, "partial_rotary_factor", "rotary_pct") ?? defaultFraction;
        int dimensions = (int)(headSize * fraction);
        if (dimensions % 2 != 0)
        {
            throw config.Unsupported(
                config.Has("partial_rotary_factor") ? "partial_rotary_factor" : "head_dim",
                $"rotary positions turn pairs of features, but {dimensions} of each head's {headSize} would be turned");
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
        if (high <= low)
        {
            throw scaling.Unsupported("high_freq_factor", $"it has to be above low_freq_factor {low}");
        }

        return new RotaryScaling.Llama3(
            scaling.GetPositiveDouble("factor"), low, high, scaling.GetPositiveInt("original_max_position_embeddings"));
    }
}
