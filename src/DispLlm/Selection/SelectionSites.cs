using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace DispLlm.Modeling;

/// <summary>
/// The one list of selection sites and of what each is. Layouts, plans, accounting, cutting, file formats and reports go by it, so that a
/// further site is a further entry here. Immutable and safe from several threads.
/// </summary>
public static class SelectionSites
{
    /// <summary>Number of sites of one block.</summary>
    internal const int Count = 6;

    private static readonly SiteDescriptor[] s_sites =
    [
        new(SelectionSite.AttentionInput, "what attention reads", shape => shape.HiddenSize)
        {
            ReadsStream = true,
            Columns = [WeightRole.Query, WeightRole.Key, WeightRole.Value],
        },
        new(SelectionSite.AttentionOutput, "what attention writes", shape => shape.HiddenSize)
        {
            WritesStream = true,
            Rows = [WeightRole.AttentionOutput, WeightRole.AttentionOutputNorm],
        },
        new(SelectionSite.MlpInput, "what the MLP reads", shape => shape.HiddenSize)
        {
            ReadsStream = true,
            Columns = [WeightRole.MlpGate, WeightRole.MlpUp],
        },
        new(SelectionSite.MlpHidden, "the MLP\u2019s hidden features", shape => shape.IntermediateSize)
        {
            Rows = [WeightRole.MlpGate, WeightRole.MlpUp],
            Columns = [WeightRole.MlpDown],
        },
        new(SelectionSite.MlpOutput, "what the MLP writes", shape => shape.HiddenSize)
        {
            WritesStream = true,
            Rows = [WeightRole.MlpDown, WeightRole.MlpOutputNorm],
        },
        new(SelectionSite.AttentionGroups, "key-value groups", shape => shape.NumKeyValueHeads)
        {
            // Attention may go as a whole: the residual stream passes it by.
            FewestKept = 0,
            Unit = "group",
            Rows = [WeightRole.Query, WeightRole.QueryNorm, WeightRole.Key, WeightRole.KeyNorm, WeightRole.Value],
            Columns = [WeightRole.AttentionOutput],
        },
    ];

    /// <summary>All sites of a block, S1 first: the order of gates, plan files and charts.</summary>
    public static IReadOnlyList<SelectionSite> All { get; } = [.. s_sites.Select(entry => entry.Site)];

    /// <summary>Position of a site in <see cref="All"/>.</summary>
    internal static int IndexOf(SelectionSite site) => (int)site is >= 1 and <= Count
        ? (int)site - 1
        : throw new ArgumentOutOfRangeException(nameof(site), site, $"The sites are S1 to S{Count}.");

    /// <summary>What a site is.</summary>
    internal static SiteDescriptor Descriptor(this SelectionSite site) => s_sites[IndexOf(site)];

    /// <summary>The site of the features that the projection before S2 or S5 reads: S6 or S4.</summary>
    internal static SelectionSite FeaturesSite(this SelectionSite output) => output switch
    {
        SelectionSite.AttentionOutput => SelectionSite.AttentionGroups,
        SelectionSite.MlpOutput => SelectionSite.MlpHidden,
        _ => throw new ArgumentOutOfRangeException(nameof(output), output, "Only S2 and S5 follow a projection."),
    };

    /// <summary>The site in messages, such as <c>S4 (MlpHidden)</c>.</summary>
    internal static string Label(this SelectionSite site) => $"S{(int)site} ({site})";

    /// <summary>A modifier of JSON contracts: a <see cref="SiteMap{T}"/> is an object with one required key per site.</summary>
    internal static void AddSiteKeys(JsonTypeInfo type)
    {
        if (type.Kind != JsonTypeInfoKind.Object || !typeof(ISiteMap).IsAssignableFrom(type.Type))
        {
            return;
        }

        type.CreateObject = () => Activator.CreateInstance(type.Type, nonPublic: true)!;
        foreach (var entry in s_sites)
        {
            var property = type.CreateJsonPropertyInfo(type.Type.GetGenericArguments()[0], entry.Key);
            property.Get = map => ((ISiteMap)map)[entry.Site];
            property.Set = (map, value) => ((ISiteMap)map)[entry.Site] = value;
            property.IsSetNullable = false;

            // Files of older versions have no groups.
            property.IsRequired = entry.Site != SelectionSite.AttentionGroups;
            type.Properties.Add(property);
        }
    }
}

/// <summary>What one selection site is.</summary>
/// <param name="Site">The site.</param>
/// <param name="Description">Its name for people, after "S1" or the like.</param>
/// <param name="Size">Number of its gates in one block of a model.</param>
internal sealed record SiteDescriptor(SelectionSite Site, string Description, Func<ModelShape, int> Size)
{
    /// <summary>The site's key in JSON files, such as <c>attention_input</c>.</summary>
    public string Key { get; } = JsonNamingPolicy.SnakeCaseLower.ConvertName(Site.ToString());

    /// <summary>Whether the site selects what a sublayer reads from the residual stream, after the norm or before it.</summary>
    public bool ReadsStream { get; init; }

    /// <summary>Whether the site selects what a sublayer writes to the residual stream.</summary>
    public bool WritesStream { get; init; }

    /// <summary>Whether the site selects features of the residual stream.</summary>
    public bool IsOnStream => ReadsStream || WritesStream;

    /// <summary>What an index of the site is, for people.</summary>
    public string Unit { get; init; } = "feature";

    /// <summary>The fewest indices that a selection keeps.</summary>
    public int FewestKept { get; init; } = 1;

    /// <summary>The weights whose rows, and with them the biases, the site cuts; norms are of one column.</summary>
    public IReadOnlyList<WeightRole> Rows { get; init; } = [];

    /// <summary>The weights whose columns the site cuts.</summary>
    public IReadOnlyList<WeightRole> Columns { get; init; } = [];
}
