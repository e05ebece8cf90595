namespace DispLlm;

/// <summary>What one block keeps: five lists of indices, each sorted, unique and not empty.</summary>
public sealed record BlockSelection
{
    /// <summary>S1: kept features of the stream that attention reads.</summary>
    public required IReadOnlyList<int> AttentionInput { get; init; }

    /// <summary>S2: features of the stream that attention writes.</summary>
    public required IReadOnlyList<int> AttentionOutput { get; init; }

    /// <summary>S3: kept features of the stream that the MLP reads.</summary>
    public required IReadOnlyList<int> MlpInput { get; init; }

    /// <summary>S4: kept hidden features of the MLP.</summary>
    public required IReadOnlyList<int> MlpHidden { get; init; }

    /// <summary>S5: features of the stream that the MLP writes.</summary>
    public required IReadOnlyList<int> MlpOutput { get; init; }

    /// <summary>The indices of one site.</summary>
    /// <param name="site">The site.</param>
    public IReadOnlyList<int> this[SelectionSite site] => site switch
    {
        SelectionSite.AttentionInput => AttentionInput,
        SelectionSite.AttentionOutput => AttentionOutput,
        SelectionSite.MlpInput => MlpInput,
        SelectionSite.MlpHidden => MlpHidden,
        SelectionSite.MlpOutput => MlpOutput,
        _ => throw new ArgumentOutOfRangeException(nameof(site), site, "There are five sites, S1 to S5."),
    };

    /// <summary>Whether both keep the same indices at every site.</summary>
    /// <param name="other">The other selection.</param>
    public bool Equals(BlockSelection? other) =>
        other is not null && Enum.GetValues<SelectionSite>().All(site => this[site].SequenceEqual(other[site]));

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (var site in Enum.GetValues<SelectionSite>())
        {
            hash.Add(this[site].Count);
            hash.Add(this[site].Count > 0 ? this[site][^1] : -1);
        }

        return hash.ToHashCode();
    }
}
