namespace DispLlm.Reporting;

/// <summary>The selection sites of pages and charts, and their titles.</summary>
internal static class SiteNames
{
    /// <summary>The sites at which a plan selects: of others there is nothing to show.</summary>
    public static IEnumerable<SelectionSite> SelectingSites(this SelectionPlan plan) =>
        SelectionSites.All.Where(site => plan.Layout.Selects(site));

    public static string GetTitle(this SelectionSite site) => $"S{(int)site} \u00B7 {site.Descriptor().Description}";
}
