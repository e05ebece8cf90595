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

    /// <summary>Whether frequencies depend on how long the whole sequence is, so that further tokens may change them.</summary>
    internal virtual bool DependsOnLength => false;

    /// <summary>A number that is the same for two lengths of which the frequencies are the same.</summary>
    internal virtual long Regime(long length) => 0;

    /// <summary>The factor of cosine and sine.</summary>
    internal virtual double AttentionFactor => 1;

    /// <summary>Checks that the values fit a number of rotated features.</summary>
    /// <exception cref="ArgumentException">They do not; they are named.</exception>
    internal virtual void Validate(int dimensions)
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

    /// <summary>
    /// Dynamic NTK: beyond the positions that the model was made for, the base grows with the length of the sequence.
    /// </summary>
    /// <param name="Factor">How fast it grows.</param>
    /// <param name="OriginalMaxPositions">Length from which on it grows, in tokens.</param>
    public sealed record Dynamic(double Factor, int OriginalMaxPositions) : RotaryScaling
    {
        internal override bool DependsOnLength => true;

        internal override long Regime(long length) => Math.Max(length, OriginalMaxPositions);
    }

    /// <summary>
    /// YaRN (arXiv:2309.00071): frequencies that turn less than <paramref name="BetaSlow"/> times within the original context are divided
    /// by a factor, those that turn more than <paramref name="BetaFast"/> times are kept, interpolated between.
    /// </summary>
    /// <param name="Factor">Divisor of low frequencies.</param>
    /// <param name="OriginalMaxPositions">Context length before the extension, in tokens.</param>
    /// <param name="BetaFast">Turns above which a frequency is kept.</param>
    /// <param name="BetaSlow">Turns below which a frequency is divided.</param>
    /// <param name="CosineFactor">The factor of cosine and sine.</param>
    /// <param name="Truncate">Whether the bounds between which frequencies are interpolated are whole dimensions.</param>
    public sealed record Yarn(
        double Factor, int OriginalMaxPositions, double BetaFast, double BetaSlow, double CosineFactor, bool Truncate) : RotaryScaling
    {
        internal override double AttentionFactor => CosineFactor;
    }

    /// <summary>
    /// LongRoPE (arXiv:2402.13753): every frequency has a divisor of its own; one set of them up to the original length, another beyond.
    /// </summary>
    /// <param name="ShortFactors">Divisors, one for each pair of rotated features, up to the original length.</param>
    /// <param name="LongFactors">The same for longer sequences.</param>
    /// <param name="OriginalMaxPositions">Context length before the extension, in tokens.</param>
    /// <param name="CosineFactor">The factor of cosine and sine, at any length.</param>
    public sealed record LongRope(
        IReadOnlyList<double> ShortFactors, IReadOnlyList<double> LongFactors, int OriginalMaxPositions, double CosineFactor)
        : RotaryScaling
    {
        internal override bool DependsOnLength => true;

        internal override double AttentionFactor => CosineFactor;

        internal override long Regime(long length) => length > OriginalMaxPositions ? 1 : 0;

        internal override void Validate(int dimensions)
        {
            if (ShortFactors.Count != dimensions / 2 || LongFactors.Count != dimensions / 2)
            {
                throw new ArgumentException(
                    $"LongRoPE has {ShortFactors.Count} short and {LongFactors.Count} long factors; {dimensions} rotated features need "
                        + $"{dimensions / 2} of each.");
            }
        }
    }
}

/// <summary>Rotary position embedding. Immutable and safe from several threads.</summary>
/// <param name="Theta">Base of the geometric series of wavelengths.</param>
/// <param name="Dimensions">How many features of each head are rotated; the rest are left as they are.</param>
/// <param name="Scaling">How wavelengths are stretched.</param>
public sealed record RotarySpec(double Theta, int Dimensions, RotaryScaling Scaling)
{
    /// <summary>
    /// Whether the features of a pair are neighbours, (2i, 2i + 1); otherwise they are half the rotated features apart, (i, i + half).
    /// Default: no.
    /// </summary>
    public bool Interleaved { get; init; }
}
