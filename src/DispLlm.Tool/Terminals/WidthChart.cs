using System.Globalization;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>What a plan keeps, as one row a site with one bar a block.</summary>
internal static class WidthChart
{
    private const string Levels = "▁▂▃▄▅▆▇█";

    public static IReadOnlyList<SelectionSite> Sites { get; } = Enum.GetValues<SelectionSite>();

    /// <summary>One character a block, the fuller the more it keeps.</summary>
    public static string Bars(SelectionPlan plan, SelectionSite site)
    {
        int size = plan.Model.SiteSize(site);
        return string.Concat(plan.Blocks.Select(block => Levels[(int)Math.Ceiling((double)block[site].Count * Levels.Length / size) - 1]));
    }

    /// <summary>S1 (AttentionInput) and so on, as messages of the library name sites.</summary>
    public static string Name(SelectionSite site) => string.Create(CultureInfo.InvariantCulture, $"S{(int)site} {site}");

    public static void Draw(IAnsiConsole console, SelectionPlan plan)
    {
        var table = new Table { Border = TableBorder.Simple }.AddColumns("kept widths", "blocks, first one left", "least", "mean", "most", "of");
        foreach (var column in table.Columns.Skip(2))
        {
            column.Alignment = Justify.Right;
        }

        foreach (var site in Sites)
        {
            int[] widths = [.. plan.Blocks.Select(block => block[site].Count)];
            table.AddRow(
                Name(site),
                Bars(plan, site),
                widths.Min().ToString(CultureInfo.InvariantCulture),
                widths.Average().ToString("F0", CultureInfo.InvariantCulture),
                widths.Max().ToString(CultureInfo.InvariantCulture),
                plan.Model.SiteSize(site).ToString(CultureInfo.InvariantCulture));
        }

        console.Write(table);
    }
}
