namespace DispLlm;

/// <summary>How weights are corrected after a selection.</summary>
public sealed record CompensationOptions
{
    /// <summary>Windows of text that the corrections are fitted on. Default 32; at least 1.</summary>
    public int Windows { get; init; } = 32;

    /// <summary>
    /// Further windows on which each block's correction has to prove itself. Default 8; at least 0. With 0 every block takes its first correction, unjudged:
    /// fast, and no longer safe.
    /// </summary>
    public int HeldOutWindows { get; init; } = 8;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <summary>
    /// Ridges to try, as shares of the mean of the covariance's diagonal: a larger one stays closer to the old weights. A block takes the first that lowers the
    /// held-out loss. Default 0.01, 0.1 and 1; each above 0.
    /// </summary>
    public IReadOnlyList<double> Ridges { get; init; } = [0.01, 0.1, 1];

    /// <summary>What corrections aim at. Default <see cref="CompensationTarget.DenseStream"/>, which measured best (docs/results.md).</summary>
    public CompensationTarget Target { get; init; } = CompensationTarget.DenseStream;

    /// <summary>Seed of the order of the windows. Default 0.</summary>
    public long Seed { get; init; }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Windows, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(HeldOutWindows);
        ArgumentOutOfRangeException.ThrowIfLessThan(WindowLength ?? 2, 2, nameof(WindowLength));
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
