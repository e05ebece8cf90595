using System.Globalization;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>The kept widths of a plan: one row per site, with one bar per block.</summary>
internal static class WidthTable
{
    private const string Levels = "·▁▂▃▄▅▆▇█";

    /// <summary>Bars are never fewer: on a terminal that narrow the table wraps.</summary>
    private const int FewestBars = 8;

    /// <summary>The headings of the columns but that of the bars.</summary>
    private static readonly string[] s_headings = ["kept widths", "min", "mean", "max", "of"];

    /// <summary>How many blocks share a bar, so that a table with bars fits its width.</summary>
    /// <param name="console">Where the table is written.</param>
    /// <param name="blocks">Number of blocks.</param>
    /// <param name="barColumns">Number of columns with bars.</param>
    /// <param name="others">The widest text of each other column.</param>
    public static int GetBlocksPerBar(IAnsiConsole console, int blocks, int barColumns, params IEnumerable<string> others)
    {
        int taken = Formatting.TableFrame(others.Count() + barColumns) + others.Sum(text => text.Length);
        int bars = Math.Max(FewestBars, (console.TableWidth() - taken) / barColumns);
        return (blocks + bars - 1) / bars;
    }

    /// <summary>One character per bar, whose height is the kept fraction of its blocks; a dot where they keep nothing.</summary>
    public static string DrawBars(SelectionPlan plan, SelectionSite site, int blocksPerBar)
    {
        int size = plan.Model.SiteSize(site);
        return string.Concat(plan.Blocks.Chunk(blocksPerBar).Select(blocks =>
            Levels[(int)Math.Ceiling(blocks.Average(block => block[site].Count) * (Levels.Length - 1) / size)]));
    }

    /// <summary>The name of a site, such as S1 AttentionInput.</summary>
    public static string GetName(SelectionSite site) => string.Create(CultureInfo.InvariantCulture, $"S{(int)site} {site}");

    public static void Draw(IAnsiConsole console, SelectionPlan plan)
    {
        string[][] rows =
        [
            .. SelectionSites.All.Select(site =>
            {
                int[] widths = [.. plan.Blocks.Select(block => block[site].Count)];
                return (string[])
                [
                    GetName(site), Number(widths.Min()), Number(widths.Average()), Number(widths.Max()), Number(plan.Model.SiteSize(site)),
                ];
            }),
        ];
        var widest = s_headings.Select((heading, column) => rows.Select(row => row[column]).Append(heading).MaxBy(text => text.Length)!);
        int blocksPerBar = GetBlocksPerBar(console, plan.Blocks.Count, 1, widest);
        string bars = blocksPerBar == 1 ? "blocks, the first one left" : $"{blocksPerBar} blocks to a bar";
        var table = new Table { Border = TableBorder.Simple }.AddColumns([s_headings[0], bars, .. s_headings[1..]]);
        foreach (var column in table.Columns.Skip(2))
        {
            column.Alignment = Justify.Right;
        }

        foreach (var (site, row) in SelectionSites.All.Zip(rows))
        {
            table.AddRow([row[0], DrawBars(plan, site, blocksPerBar), .. row[1..]]);
        }

        console.Write(table);
    }

    private static string Number(double value) => value.ToString("F0", CultureInfo.InvariantCulture);
}
