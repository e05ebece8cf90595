namespace DispLlm.Modeling;

/// <content>Rotary position embedding, in every layout in use.</content>
public static partial class ConfigReader
{
    /// <summary>
    /// Reads the rotary position embedding: <c>rope_theta</c>, <c>partial_rotary_factor</c> and <c>rope_scaling</c> (kind under
    /// <c>rope_type</c> or <c>type</c>); or <c>rope_parameters</c> of transformers 5, which holds them all.
    /// </summary>
    /// <param name="config">The configuration.</param>
    /// <param name="headDim">Features of one head.</param>
    /// <param name="keys">The family's keys and defaults.</param>
    /// <param name="layerType">
    /// The key within <c>rope_parameters</c> of a family that has them by kind of layer, such as <c>full_attention</c>; null for others.
    /// </param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    /// <exception cref="UnsupportedModelException">The decoder does not compute the kind of scaling; it is named.</exception>
    public static RotarySpec ReadRotary(ModelConfig config, int headDim, DecoderConfigKeys keys, string? layerType)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(keys);
        var parameters = config.TryGetSection("rope_parameters");
        if (parameters is not null && layerType is not null)
        {
            // Transformers 5 misreads one section for all kinds of layers.
            parameters = parameters.TryGetSection(layerType)
                ?? throw config.Unsupported(
                    "rope_parameters", $"this family has one section for each kind of layer, '{layerType}' among them");
        }

        var scaling = parameters ?? config.TryGetSection("rope_scaling");
        double theta = parameters?.Has("rope_theta") == true ? parameters.GetPositiveDouble("rope_theta")
            : config.GetPositiveDouble(keys.RotaryTheta, keys.DefaultRotaryTheta);
        double fraction = parameters?.Has("partial_rotary_factor") == true ? parameters.GetPositiveDouble("partial_rotary_factor")
            : config.GetPositiveDouble(keys.RotaryFraction, keys.DefaultRotaryFraction);
        int dimensions = (int)(headDim * fraction);
        if (dimensions % 2 != 0 || dimensions > headDim)
        {
            throw config.Unsupported(
                config.Has(keys.RotaryFraction) ? keys.RotaryFraction : "head_dim",
                $"features are rotated in pairs, but {dimensions} of each head's {headDim} would be");
        }

        // Copies of these keys may stand beside rope_parameters; what is inside wins.
        config.MarkRead(keys.RotaryTheta, keys.RotaryFraction, "rope_scaling");
        return new RotarySpec(
            theta, dimensions, scaling is null ? new RotaryScaling.None() : new ScalingReader(config, scaling, keys).Read());
    }

    /// <summary>Reads one kind of scaling.</summary>
    /// <param name="config">The whole configuration.</param>
    /// <param name="scaling">The section of the scaling.</param>
    /// <param name="keys">The family's keys and defaults.</param>
    private sealed class ScalingReader(ModelConfig config, ModelConfig scaling, DecoderConfigKeys keys)
    {
        private const string OriginalLength = "original_max_position_embeddings";

        public RotaryScaling Read()
        {
            string key = scaling.Has("type") && !scaling.Has("rope_type") ? "type" : "rope_type";
            string kind = scaling.GetString(key);
            return kind switch
            {
                "default" => new RotaryScaling.None(),
                "su" or "yarn" when keys.NamesLongRopeOtherwise => ReadLongRope(),
                "linear" => new RotaryScaling.Linear(scaling.GetPositiveDouble("factor")),
                "dynamic" when !scaling.Has("alpha") => new RotaryScaling.Dynamic(scaling.GetPositiveDouble("factor"), MaxPositions),
                "llama3" => ReadLlama3(),
                "yarn" => ReadYarn(),
                "longrope" => ReadLongRope(),
                _ => throw scaling.Unsupported(key, "known are default, linear, dynamic (without alpha), llama3, yarn and longrope"),
            };
        }

        private int MaxPositions => config.GetPositiveInt(keys.MaxPositions, keys.DefaultMaxPositions);

        private RotaryScaling.Llama3 ReadLlama3()
        {
            double low = scaling.GetPositiveDouble("low_freq_factor");
            double high = scaling.GetPositiveDouble("high_freq_factor");
            return high > low
                ? new(scaling.GetPositiveDouble("factor"), low, high, scaling.GetPositiveInt(OriginalLength))
                : throw scaling.Unsupported("high_freq_factor", $"it has to be above low_freq_factor {low}");
        }

        private RotaryScaling.Yarn ReadYarn()
        {
            int original = scaling.GetPositiveInt(OriginalLength, MaxPositions);
            double factor = scaling.GetPositiveDouble("factor", (double)MaxPositions / original);
            double Spread(double scale) => factor <= 1 ? 1 : (0.1 * scale * Math.Log(factor)) + 1;
            double byDefault = scaling.GetDouble("mscale", 0) is var scale && scaling.GetDouble("mscale_all_dim", 0) is var all
                && scale != 0 && all != 0
                    ? Spread(scale) / Spread(all)
                    : Spread(1);
            return new(
                factor,
                original,
                scaling.GetPositiveDouble("beta_fast", 32),
                scaling.GetPositiveDouble("beta_slow", 1),
                scaling.GetPositiveDouble("attention_factor", byDefault),
                scaling.GetBool("truncate", true));
        }

        private RotaryScaling.LongRope ReadLongRope()
        {
            int original = scaling.Has(OriginalLength) ? scaling.GetPositiveInt(OriginalLength)
                : config.GetPositiveInt(OriginalLength, keys.DefaultOriginalMaxPositions);
            double factor = (double)MaxPositions / original;
            double byDefault = factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(original)));
            return new(
                scaling.GetPositiveDoubles("short_factor"),
                scaling.GetPositiveDoubles("long_factor"),
                original,
                scaling.GetPositiveDouble("attention_factor", byDefault));
        }
    }
}
