namespace DispLlm.Reporting;

/// <summary>How much of what a block keeps at a site the next block keeps too.</summary>
/// <param name="Block">The first of the two blocks, from 0.</param>
/// <param name="Site">The site, the same in both.</param>
/// <param name="Share">Indices that both keep, as a share of those that either keeps (Jaccard): 0 to 1.</param>
/// <param name="ByChance">The share that two random selections of these widths come to.</param>
public readonly record struct AdjacentBlockOverlap(int Block, SelectionSite Site, double Share, double ByChance)
{
    /// <summary>The shares of all neighbouring blocks of a plan: block by block, S1 to S5; empty for a model of one block.</summary>
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

    private static AdjacentBlockOverlap Compute(int block, SelectionSite site, IReadOnlyList<int> first, IReadOnlyList<int> second, int size)
    {
        double both = first.Intersect(second).Count(), expected = (double)first.Count * second.Count / size;
        double Jaccard(double common) => common / (first.Count + second.Count - common);
        return new AdjacentBlockOverlap(block, site, Jaccard(both), Jaccard(expected));
    }
}
