namespace DispLlm;

/// <summary>How weights are reconstructed. An immutable value.</summary>
public sealed record ReconstructionOptions
{
    /// <summary>Tokens that corrections are fitted on by default: some dozens for each kept input of a weight of a few thousand.</summary>
    private const int DefaultTokens = 65_536;

    /// <summary>
    /// Sequences that the corrections are fitted on; at least 1. Default: as many as hold 65,536 tokens, or as the text has beside those
    /// that are held out. With fewer, weights are fitted to the sample (docs/results.md); memory and time grow with it.
    /// </summary>
    public int? Sequences { get; init; }

    /// <summary>
    /// Further sequences, on which a block's correction has to lower the loss. Default 8; at least 0. With 0 every block takes its first
    /// correction unchecked: fast, and not safe.
    /// </summary>
    public int HeldOutSequences { get; init; } = 8;

    /// <summary>Sequence length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? SequenceLength { get; init; }

    /// <summary>
    /// Ridges to try, as shares of the mean of the covariance's diagonal: with a larger one, weights change less. A block takes the first
    /// that lowers the held-out loss. Default 0.01, 0.1 and 1; each above 0.
    /// </summary>
    public IReadOnlyList<double> Ridges { get; init; } = [0.01, 0.1, 1];

    /// <summary>
    /// What corrections aim at. Default <see cref="ReconstructionTarget.DenseResidualStream"/>, which measured best (docs/results.md).
    /// </summary>
    public ReconstructionTarget Target { get; init; } = ReconstructionTarget.DenseResidualStream;

    /// <summary>Seed of the order of the sequences. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>How many sequences of a length are fitted on, of those available.</summary>
    internal int CountFitted(int available, int length) =>
        Sequences ?? Math.Max(1, Math.Min(available - HeldOutSequences, (DefaultTokens + length - 1) / length));

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Sequences ?? 1, 1, nameof(Sequences));
        ArgumentOutOfRangeException.ThrowIfNegative(HeldOutSequences);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequenceLength ?? 2, 2, nameof(SequenceLength));
        ArgumentOutOfRangeException.ThrowIfZero(Ridges.Count, nameof(Ridges));
        if (!Enum.IsDefined(Target))
        {
            throw new ArgumentOutOfRangeException(nameof(Target), (int)Target, $"{nameof(Target)} has to be one of the three targets.");
        }

        foreach (double ridge in Ridges)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ridge, nameof(Ridges));
        }
    }
}
