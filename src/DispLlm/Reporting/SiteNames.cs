namespace DispLlm.Reporting;

/// <summary>What the sites are called where people read of them.</summary>
internal static class SiteNames
{
    public static string Title(this SelectionSite site) => $"S{(int)site} \u00B7 {site.Descriptor().Description}";
}
