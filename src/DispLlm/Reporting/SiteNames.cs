namespace DispLlm.Reporting;

/// <summary>Titles of the selection sites for pages and charts.</summary>
internal static class SiteNames
{
    public static string GetTitle(this SelectionSite site) => $"S{(int)site} \u00B7 {site.Describe()}";

    private static string Describe(this SelectionSite site) => site switch
    {
        SelectionSite.AttentionInput => "attention input",
        SelectionSite.AttentionOutput => "attention output",
        SelectionSite.MlpInput => "MLP input",
        SelectionSite.MlpHidden => "MLP hidden features",
        _ => "MLP output",
    };
}
