using System.Globalization;
using System.Text;

namespace DispLlm.Modeling;

/// <summary>How one site differs between two plans.</summary>
/// <param name="Block">Index of the block, from 0.</param>
/// <param name="Site">The site.</param>
/// <param name="Added">Indices that only the second plan keeps, ascending.</param>
/// <param name="Removed">Indices that only the first plan keeps, ascending.</param>
public sealed record SelectionSiteDiff(int Block, SelectionSite Site, IReadOnlyList<int> Added, IReadOnlyList<int> Removed)
{
    /// <inheritdoc/>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"block {Block} {Site.Label()}: +{Added.Count}{List(Added)} -{Removed.Count}{List(Removed)}");

    // Enough to recognise a hand edit; a list of thousands would hide it.
    private static string List(IReadOnlyList<int> indices) => indices.Count switch
    {
        0 => "",
        <= 8 => $" [{string.Join(", ", indices)}]",
        _ => $" [{string.Join(", ", indices.Take(8))}, ...]",
    };
}

/// <summary>How two plans for one model differ, site by site. Immutable and safe from several threads.</summary>
public sealed class SelectionPlanDiff
{
    internal SelectionPlanDiff(SelectionPlan before, SelectionPlan after)
    {
        ArgumentNullException.ThrowIfNull(after);
        if (before.Model.FirstDifference(after.Model) is { } difference)
        {
            throw new SelectionException($"Plans for different models cannot be compared: {difference}.");
        }

        var sites = new List<SelectionSiteDiff>();
        for (int block = 0; block < before.Blocks.Count; block++)
        {
            foreach (var site in SelectionSites.All)
            {
                var (old, kept) = (before.Blocks[block][site], after.Blocks[block][site]);
                if (!old.SequenceEqual(kept))
                {
                    int[] added = kept.Except(old).ToArray(), removed = old.Except(kept).ToArray();
                    sites.Add(new SelectionSiteDiff(block, site, Array.AsReadOnly(added), Array.AsReadOnly(removed)));
                }
            }
        }

        Sites = sites.AsReadOnly();
        Added = sites.Sum(site => (long)site.Added.Count);
        Removed = sites.Sum(site => (long)site.Removed.Count);
        Before = before.KeptParameters;
        After = after.KeptParameters;
    }

    /// <summary>The sites that differ, in the order of gates.</summary>
    public IReadOnlyList<SelectionSiteDiff> Sites { get; }

    /// <summary>How many indices only the second plan keeps.</summary>
    public long Added { get; }

    /// <summary>How many indices only the first plan keeps.</summary>
    public long Removed { get; }

    /// <summary>Parameters that the first plan keeps.</summary>
    public ParameterCount Before { get; }

    /// <summary>Parameters that the second plan keeps.</summary>
    public ParameterCount After { get; }

    /// <summary>Whether both plans select the same.</summary>
    public bool IsEmpty => Sites.Count == 0;

    /// <summary>The difference for people: one line in sum, then one line per site that differs.</summary>
    public override string ToString()
    {
        if (IsEmpty)
        {
            return "The plans select the same.";
        }

        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Sites.Count} sites differ: +{Added} -{Removed} indices; ");
        text.Append(CultureInfo.InvariantCulture, $"{Before.BlockWeights:N0} -> {After.BlockWeights:N0} block weights");
        foreach (var site in Sites)
        {
            text.Append('\n').Append(site);
        }

        return text.ToString();
    }
}
