namespace DispLlm.Modeling;

/// <summary>
/// How a rotary embedding stretches its wavelengths for contexts longer than those it was trained on. Immutable and safe from several
/// threads.
/// </summary>
public abstract record RotaryScaling
{
    private RotaryScaling()
    {
    }

    /// <summary>Wavelengths as they are.</summary>
    public sealed record None : RotaryScaling;

    /// <summary>Every position divided by a factor.</summary>
    /// <param name="Factor">The factor, above 0.</param>
    public sealed record Linear(double Factor) : RotaryScaling;

    /// <summary>LLaMA 3.1: long wavelengths divided by a factor, short ones kept, interpolated between.</summary>
    /// <param name="Factor">Divisor of low frequencies.</param>
    /// <param name="LowFrequencyFactor">Wavelengths above <c>OriginalMaxPositions / LowFrequencyFactor</c> are divided whole.</param>
    /// <param name="HighFrequencyFactor">Wavelengths below <c>OriginalMaxPositions / HighFrequencyFactor</c> are kept.</param>
    /// <param name="OriginalMaxPositions">Context length before the extension, in tokens.</param>
    public sealed record Llama3(
        double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int OriginalMaxPositions) : RotaryScaling;
}

/// <summary>Rotary position embedding. Immutable and safe from several threads.</summary>
/// <param name="Theta">Base of the geometric series of wavelengths.</param>
/// <param name="Dimensions">How many features of each head are rotated; the rest are left as they are.</param>
/// <param name="Scaling">How wavelengths are stretched.</param>
public sealed record RotarySpec(double Theta, int Dimensions, RotaryScaling Scaling);
