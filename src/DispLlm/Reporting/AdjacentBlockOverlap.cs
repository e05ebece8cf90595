using System.Text.Json.Serialization;

namespace DispLlm.Reporting;

/// <summary>The overlap of the selections of two adjacent blocks at one site. Immutable and thread-safe.</summary>
/// <param name="Block">The first of the two blocks, from 0.</param>
/// <param name="Site">The site, the same in both.</param>
/// <param name="Jaccard">Jaccard index of the kept indices: those that both keep, divided by those that either keeps; 0 to 1.</param>
/// <param name="ExpectedJaccard">The Jaccard index that random selections of these widths have in expectation.</param>
public readonly record struct AdjacentBlockOverlap(
    int Block,
    SelectionSite Site,
    [property: JsonPropertyName("share")] double Jaccard,
    [property: JsonPropertyName("by_chance")] double ExpectedJaccard)
{
    /// <summary>
    /// Computes the overlaps of all adjacent blocks of a plan, ordered by block and site; empty for a model of one block.
    /// </summary>
    /// <param name="plan">The plan.</param>
    public static IReadOnlyList<AdjacentBlockOverlap> Compute(SelectionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return
        [
            .. from block in Enumerable.Range(0, plan.Blocks.Count - 1)
               from site in SelectionSites.All
               select Compute(block, site, plan.Blocks[block][site], plan.Blocks[block + 1][site], plan.Model.SiteSize(site)),
        ];
    }

    private static AdjacentBlockOverlap Compute(
        int block, SelectionSite site, IReadOnlyList<int> first, IReadOnlyList<int> second, int size)
    {
        double both = first.Intersect(second).Count(), expected = (double)first.Count * second.Count / size;

        // Two blocks that keep nothing keep the same.
        double Ratio(double common) => first.Count + second.Count == 0 ? 1 : common / (first.Count + second.Count - common);
        return new AdjacentBlockOverlap(block, site, Ratio(both), Ratio(expected));
    }
}
