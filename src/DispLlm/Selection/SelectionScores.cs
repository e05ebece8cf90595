namespace DispLlm.Training;

/// <summary>
/// How much each gate of a model is worth keeping: logits of a hypernetwork, or the scores of any other strategy. Larger is kept longer.
/// Only the order matters to <see cref="BudgetProjection"/>, within a site and between sites. Immutable, all finite, and safe from several
/// threads.
/// </summary>
public sealed class SelectionScores
{
    private readonly float[] _values;

    /// <summary>Takes a copy of the scores.</summary>
    /// <param name="layout">Where the gates of each site are.</param>
    /// <param name="values">The scores, <c>[layout.Count]</c>.</param>
    /// <exception cref="SelectionException">Wrong number of scores, or one that is not finite.</exception>
    public SelectionScores(GateLayout layout, ReadOnlySpan<float> values)
    {
        ArgumentNullException.ThrowIfNull(layout);
        Layout = layout;
        _values = layout.FiniteCopy(values, "score");
    }

    /// <summary>Where the gates of each site are.</summary>
    public GateLayout Layout { get; }

    /// <summary>All scores, <c>[Layout.Count]</c>.</summary>
    public ReadOnlySpan<float> Values => _values;

    /// <summary>The scores of one site.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="site">The site.</param>
    /// <returns>The scores, <c>[size of the site]</c>.</returns>
    public ReadOnlySpan<float> ForSite(int block, SelectionSite site)
    {
        var range = Layout[block, site];
        return Values.Slice(range.Offset, range.Size);
    }
}
