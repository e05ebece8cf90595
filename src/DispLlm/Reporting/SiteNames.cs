namespace DispLlm.Reporting;

/// <summary>Titles of the selection sites for pages and charts.</summary>
internal static class SiteNames
{
    public static string GetTitle(this SelectionSite site) => $"S{(int)site} \u00B7 {site.Descriptor().Description}";
}
