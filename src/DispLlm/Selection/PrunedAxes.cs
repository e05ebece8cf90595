namespace DispLlm.Modeling;

/// <summary>Which site cuts which side of a weight (docs/method.md, Selection sites). Accounting, cutting and loading go by it.</summary>
/// <param name="OutputSite">The site that selects output rows, and with them the bias; null where all are kept.</param>
/// <param name="InputSite">The site that selects input columns; null where all are kept.</param>
public readonly record struct PrunedAxes(SelectionSite? OutputSite, SelectionSite? InputSite)
{
    private static readonly Dictionary<WeightRole, PrunedAxes> s_byRole = Enum.GetValues<WeightRole>().ToDictionary(
        role => role, role => new PrunedAxes(Find(site => site.Rows, role), Find(site => site.Columns, role)));

    /// <summary>
    /// The site whose scales multiply the weight's rows, and with them the bias; null for none. The scales of a site that is not on the
    /// residual stream (S4) come after an activation, so that the columns of the next weight take them.
    /// </summary>
    internal SelectionSite? ScaledRows => OutputSite is { } site && site.Descriptor().WritesStream ? site : null;

    /// <summary>The axes of a role.</summary>
    /// <param name="role">What the weight does.</param>
    /// <param name="norms">The model's norms of queries and keys: one that all heads share is kept whole.</param>
    public static PrunedAxes For(WeightRole role, QueryKeyNorm norms) =>
        role is WeightRole.QueryNorm or WeightRole.KeyNorm && norms is not (QueryKeyNorm.PerHead or QueryKeyNorm.AllHeads)
            ? default : s_byRole.GetValueOrDefault(role);

    private static SelectionSite? Find(Func<SiteDescriptor, IReadOnlyList<WeightRole>> cuts, WeightRole role) => SelectionSites.All
        .Where(site => cuts(site.Descriptor()).Contains(role))
        .Select(site => (SelectionSite?)site)
        .SingleOrDefault();
}
