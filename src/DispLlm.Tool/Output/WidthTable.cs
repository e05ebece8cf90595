using System.Globalization;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>The kept widths of a plan: one row per site, with one bar per block.</summary>
internal static class WidthTable
{
    private const string Levels = "▁▂▃▄▅▆▇█";

    /// <summary>One character per block, whose height is the kept fraction.</summary>
    public static string DrawBars(SelectionPlan plan, SelectionSite site)
    {
        int size = plan.Model.SiteSize(site);
        return string.Concat(plan.Blocks.Select(block => Levels[(int)Math.Ceiling((double)block[site].Count * Levels.Length / size) - 1]));
    }

    /// <summary>The name of a site, such as S1 AttentionInput.</summary>
    public static string GetName(SelectionSite site) => string.Create(CultureInfo.InvariantCulture, $"S{(int)site} {site}");

    public static void Draw(IAnsiConsole console, SelectionPlan plan)
    {
        var table = new Table { Border = TableBorder.Simple }.AddColumns(
            "kept widths", "blocks, the first one left", "min", "mean", "max", "of");
        foreach (var column in table.Columns.Skip(2))
        {
            column.Alignment = Justify.Right;
        }

        foreach (var site in SelectionSites.All)
        {
            int[] widths = [.. plan.Blocks.Select(block => block[site].Count)];
            table.AddRow(
                GetName(site),
                DrawBars(plan, site),
                widths.Min().ToString(CultureInfo.InvariantCulture),
                widths.Average().ToString("F0", CultureInfo.InvariantCulture),
                widths.Max().ToString(CultureInfo.InvariantCulture),
                plan.Model.SiteSize(site).ToString(CultureInfo.InvariantCulture));
        }

        console.Write(table);
    }
}
