namespace DispLlm.Modeling;

/// <summary>What the lists of a plan have to hold.</summary>
internal static class SelectionRules
{
    /// <summary>A copy of what a block keeps, whose lists are sorted, unique, in range and long enough.</summary>
    public static BlockSelection ValidCopy(ModelShape model, int index, BlockSelection? block)
    {
        if (block is null)
        {
            throw new SelectionException($"block {index}: the selection is missing.");
        }

        IReadOnlyList<int> Copy(SelectionSite site)
        {
            // Block and site are put into words only when something is wrong: a model has hundreds of thousands of indices.
            int[] indices = block[site]?.ToArray() ?? [];
            int size = model.SiteSize(site);
            if (indices.Length < site.Descriptor().FewestKept)
            {
                throw Bad(index, site, "keeps nothing; at least one index must be kept");
            }

            for (int i = 0; i < indices.Length; i++)
            {
                if (indices[i] < 0 || indices[i] >= size)
                {
                    throw Bad(index, site, $"index {indices[i]} at position {i} is not within 0 to {size - 1}");
                }

                if (i > 0 && indices[i] <= indices[i - 1])
                {
                    string fault = indices[i] == indices[i - 1]
                        ? "is listed twice"
                        : $"comes after {indices[i - 1]}; indices must ascend";
                    throw Bad(index, site, $"index {indices[i]} at position {i} {fault}");
                }
            }

            return Array.AsReadOnly(indices);
        }

        return new BlockSelection(SiteMap.Create(Copy));
    }

    /// <summary>Refuses lists that a plan's layout does not allow.</summary>
    public static void CheckLayout(SelectionPlan plan)
    {
        for (int block = 0; block < plan.Blocks.Count; block++)
        {
            foreach (var site in SelectionSites.All)
            {
                var kept = plan.Blocks[block][site];
                if (!plan.Layout.Selects(site) && kept.Count < plan.Model.SiteSize(site))
                {
                    throw Bad(
                        block, site,
                        $"keeps {kept.Count} of {plan.Model.SiteSize(site)} indices, but layout {plan.Layout} does not cut this site. Keep "
                            + "all, or take another layout");
                }

                if (plan.Layout.Shares(site) && !kept.SequenceEqual(plan.Blocks[0].AttentionInput))
                {
                    throw Bad(
                        block, site,
                        $"differs from block 0 {SelectionSite.AttentionInput.Label()}, but layout {plan.Layout} has one selection of the "
                            + "residual stream");
                }

                if (plan.Layout.HasOneMlpWidth() && site == SelectionSite.MlpHidden && kept.Count != plan.Blocks[0].MlpHidden.Count)
                {
                    throw Bad(
                        block, site,
                        $"keeps {kept.Count} indices and block 0 keeps {plan.Blocks[0].MlpHidden.Count}, but layout {plan.Layout} has one "
                            + "MLP width");
                }
            }
        }
    }

    private static SelectionException Bad(int block, SelectionSite site, string what) =>
        new($"block {block} {site.Label()}: {what}.");
}
