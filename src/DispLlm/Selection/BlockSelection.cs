using System.Diagnostics.CodeAnalysis;

namespace DispLlm;

/// <summary>
/// What one block keeps: for every selection site a list of indices, sorted and unique; only that of S6 may be empty. Immutable and safe
/// from several threads if its lists are.
/// </summary>
public sealed record BlockSelection
{
    private readonly SiteMap<IReadOnlyList<int>> _sites;

    /// <summary>Creates a selection whose lists are given one by one.</summary>
    public BlockSelection() => _sites = SiteMap.Create<IReadOnlyList<int>>(_ => []);

    /// <summary>Creates a selection from the lists of all sites.</summary>
    /// <param name="sites">The indices that each site keeps.</param>
    [SetsRequiredMembers]
#pragma warning disable CS8618 // The properties are views of the map.
    public BlockSelection(SiteMap<IReadOnlyList<int>> sites)
#pragma warning restore CS8618
    {
        ArgumentNullException.ThrowIfNull(sites);
        _sites = sites;
    }

    /// <summary>S1: kept features of the residual stream that attention reads.</summary>
    public required IReadOnlyList<int> AttentionInput
    {
        get => this[SelectionSite.AttentionInput];
        init => _sites = _sites.With(SelectionSite.AttentionInput, value);
    }

    /// <summary>S2: kept features of the residual stream that attention writes.</summary>
    public required IReadOnlyList<int> AttentionOutput
    {
        get => this[SelectionSite.AttentionOutput];
        init => _sites = _sites.With(SelectionSite.AttentionOutput, value);
    }

    /// <summary>S3: kept features of the residual stream that the MLP reads.</summary>
    public required IReadOnlyList<int> MlpInput
    {
        get => this[SelectionSite.MlpInput];
        init => _sites = _sites.With(SelectionSite.MlpInput, value);
    }

    /// <summary>S4: kept hidden features of the MLP.</summary>
    public required IReadOnlyList<int> MlpHidden
    {
        get => this[SelectionSite.MlpHidden];
        init => _sites = _sites.With(SelectionSite.MlpHidden, value);
    }

    /// <summary>S5: kept features of the residual stream that the MLP writes.</summary>
    public required IReadOnlyList<int> MlpOutput
    {
        get => this[SelectionSite.MlpOutput];
        init => _sites = _sites.With(SelectionSite.MlpOutput, value);
    }

    /// <summary>S6: kept key-value heads, each with its query heads. Empty for a block without attention.</summary>
    public required IReadOnlyList<int> AttentionGroups
    {
        get => this[SelectionSite.AttentionGroups];
        init => _sites = _sites.With(SelectionSite.AttentionGroups, value);
    }

    /// <summary>The indices that one site keeps.</summary>
    /// <param name="site">The site.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public IReadOnlyList<int> this[SelectionSite site] => _sites[site];

    /// <summary>The same selection with one list replaced.</summary>
    /// <param name="site">The site.</param>
    /// <param name="indices">The indices that it keeps instead.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public BlockSelection With(SelectionSite site, IReadOnlyList<int> indices) => new(_sites.With(site, indices));

    /// <summary>How many indices each site keeps: all that a block's parameter count depends on.</summary>
    public SiteMap<int> Widths() => SiteMap.Create(site => this[site].Count);

    /// <summary>Whether both keep the same indices at every site.</summary>
    /// <param name="other">The other selection.</param>
    public bool Equals(BlockSelection? other) => other is not null && SelectionSites.All.All(site => this[site].SequenceEqual(other[site]));

    /// <inheritdoc/>
    public override int GetHashCode() => Widths().GetHashCode();
}
