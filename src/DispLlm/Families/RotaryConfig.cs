namespace DispLlm;

/// <summary>
/// Reads rotary positions from any of the layouts in use: <c>rope_theta</c> with <c>rope_scaling</c> (kind under <c>type</c> or
/// <c>rope_type</c>), or transformers 5's <c>rope_parameters</c> that holds both.
/// </summary>
public static class RotaryConfig
{
    /// <summary>Reads the rotary part of a configuration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="dimensions">How many features of each head are rotated.</param>
    /// <exception cref="UnsupportedModelException">A kind of scaling that is not computed here; it is named.</exception>
    public static RotarySpec Read(ModelConfig config, int dimensions)
    {
        ArgumentNullException.ThrowIfNull(config);
        var parameters = config.TryGetSection("rope_parameters");
        var scaling = parameters ?? config.TryGetSection("rope_scaling");
        double theta = parameters is not null && parameters.Has("rope_theta")
            ? parameters.GetPositiveDouble("rope_theta")
            : config.GetPositiveDouble("rope_theta", 10000.0);
        return new RotarySpec(theta, dimensions, scaling is null ? new RotaryScaling.None() : ReadScaling(scaling));
    }

    private static RotaryScaling ReadScaling(ModelConfig scaling)
    {
        string key = scaling.Has("rope_type") ? "rope_type" : "type";
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
