namespace DispLlm.Reporting;

/// <summary>What the sites are called where people read of them.</summary>
internal static class SiteNames
{
    public static string Title(this SelectionSite site) => $"S{(int)site} \u00B7 {site.Words()}";

    private static string Words(this SelectionSite site) => site switch
    {
        SelectionSite.AttentionInput => "what attention reads",
        SelectionSite.AttentionOutput => "what attention writes",
        SelectionSite.MlpInput => "what the MLP reads",
        SelectionSite.MlpHidden => "the MLP\u2019s hidden features",
        _ => "what the MLP writes",
    };
}
