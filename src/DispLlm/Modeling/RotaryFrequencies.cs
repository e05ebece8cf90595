namespace DispLlm.Modeling;

/// <summary>
/// The frequencies of a rotary embedding, in radians per position, as transformers computes them (modeling_rope_utils.py). Thread-safe.
/// </summary>
internal static class RotaryFrequencies
{
    /// <summary>The frequencies, one for each pair of rotated features.</summary>
    /// <param name="spec">The embedding.</param>
    /// <param name="length">The length of the longest sequence, in tokens; only some scalings depend on it.</param>
    public static float[] Compute(RotarySpec spec, long length)
    {
        int dimensions = spec.Dimensions;
        var scaling = spec.Scaling;
        double theta = scaling is RotaryScaling.Dynamic dynamic ? Grow(spec.Theta, dynamic, dimensions, length) : spec.Theta;
        float[] frequencies = new float[dimensions / 2];
        for (int i = 0; i < frequencies.Length; i++)
        {
            // In float32 throughout, as the models were trained.
            float frequency = 1.0f / MathF.Pow((float)theta, 2f * i / dimensions);
            frequencies[i] = scaling switch
            {
                RotaryScaling.None or RotaryScaling.Dynamic => frequency,
                RotaryScaling.Linear linear => frequency / (float)linear.Factor,
                RotaryScaling.Llama3 llama3 => Scale(frequency, llama3),
                RotaryScaling.Yarn yarn => Scale(frequency, i, yarn, theta, dimensions),
                RotaryScaling.LongRope longRope =>
                    frequency / (float)(length > longRope.OriginalMaxPositions ? longRope.LongFactors : longRope.ShortFactors)[i],
                _ => throw new ArgumentOutOfRangeException(nameof(spec), scaling, "Unknown rotary scaling."),
            };
        }

        return frequencies;
    }

    private static double Grow(double theta, RotaryScaling.Dynamic scaling, int dimensions, long length)
    {
        double stretch = Math.Max(1, (double)length / scaling.OriginalMaxPositions);
        return dimensions == 2 ? theta
            : theta * Math.Pow((scaling.Factor * stretch) - (scaling.Factor - 1), (double)dimensions / (dimensions - 2));
    }

    private static float Scale(float frequency, RotaryScaling.Llama3 scaling)
    {
        double wavelength = 2 * Math.PI / frequency;
        double longest = scaling.OriginalMaxPositions / scaling.LowFrequencyFactor;
        double shortest = scaling.OriginalMaxPositions / scaling.HighFrequencyFactor;
        if (wavelength < shortest)
        {
            return frequency;
        }

        if (wavelength > longest)
        {
            return (float)(frequency / scaling.Factor);
        }

        double smooth = (scaling.OriginalMaxPositions / wavelength - scaling.LowFrequencyFactor)
            / (scaling.HighFrequencyFactor - scaling.LowFrequencyFactor);
        return (float)((1 - smooth) * frequency / scaling.Factor + smooth * frequency);
    }

    private static float Scale(float frequency, int index, RotaryScaling.Yarn scaling, double theta, int dimensions)
    {
        // The pair that turns so many times within the original context.
        double Pair(double turns) =>
            dimensions * Math.Log(scaling.OriginalMaxPositions / (turns * 2 * Math.PI)) / (2 * Math.Log(theta));
        double low = Pair(scaling.BetaFast), high = Pair(scaling.BetaSlow);
        (low, high) = scaling.Truncate ? (Math.Floor(low), Math.Ceiling(high)) : (low, high);
        (low, high) = (Math.Max(low, 0), Math.Min(high, dimensions - 1));
        double divided = Math.Clamp((index - low) / (low == high ? 0.001 : high - low), 0, 1);
        return (float)((frequency / scaling.Factor * divided) + (frequency * (1 - divided)));
    }
}
