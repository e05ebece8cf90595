using System.Globalization;
using System.Text;

namespace DispLlm.Reporting;

/// <summary>
/// The kept features of each block at each site, and their overlap with the next block. Wide sites are drawn in bins of adjacent features,
/// so that the size of the chart does not depend on the size of the model.
/// </summary>
internal static class KeptMapChart
{
    private const int Bins = 128, Levels = 8;
    private const double Left = 26, Width = 240, OverlapLeft = 276, OverlapWidth = 58;

    public static IReadOnlyList<ChartPanel> CreatePanels(SelectionPlan plan)
    {
        var neighbours = AdjacentBlockOverlap.Compute(plan);
        return [.. plan.SelectingSites().Select(site => Panel(plan, site, [.. neighbours.Where(share => share.Site == site)]))];
    }

    private static ChartPanel Panel(SelectionPlan plan, SelectionSite site, AdjacentBlockOverlap[] shares)
    {
        int size = plan.Model.SiteSize(site), bins = Math.Min(size, Bins), blocks = plan.Blocks.Count;
        double row = Math.Clamp(170.0 / blocks, 2.5, 14), bottom = ChartPanel.Top + 14 + blocks * row;
        string note = size > Bins
            ? $"one cell per {size / Bins}{(size % Bins == 0 ? "" : $" or {size / Bins + 1}")} features, darker where more are kept"
            : $"one cell per {site.Descriptor().Unit}";
        string description = $"Which of {size} {site.Descriptor().Unit}s each of {blocks} blocks keeps." + (shares.Length == 0
            ? string.Empty
            : $" Adjacent blocks share {Markup.Percent(shares.Average(share => share.Jaccard))} of what either keeps; random selections "
                + $"of these widths would share "
              + $"{Markup.Percent(shares.Average(share => share.ExpectedJaccard))}.");
        return ChartPanel.Draw(site.GetTitle(), note, description, bottom + 18, canvas =>
        {
            double top = ChartPanel.Top + 14;
            canvas.Rectangle(Left, top, Width, blocks * row, "ground");
            DrawCells(canvas, plan, site, bins, top, row);
            for (int block = 0; block < blocks; block += Math.Max(1, (int)Math.Ceiling(12 / row)))
            {
                canvas.Text(Left - 5, top + block * row + Math.Max(row / 2 + 4, 8), $"{block}", "note", "end");
            }

            canvas.Text(Left, bottom + 14, $"{site.Descriptor().Unit} 0", "note");
            canvas.Text(Left + Width, bottom + 14, Markup.Count(size - 1), "note", "end");
            if (shares.Length > 0)
            {
                DrawOverlaps(canvas, shares, top, row, bottom);
            }
        });
    }

    private static void DrawCells(SvgCanvas canvas, SelectionPlan plan, SelectionSite site, int bins, double top, double row)
    {
        int size = plan.Model.SiteSize(site);
        var paths = Enumerable.Range(0, Levels + 1).Select(_ => new StringBuilder()).ToArray();
        for (int block = 0; block < plan.Blocks.Count; block++)
        {
            int[] kept = new int[bins], all = new int[bins];
            for (int feature = 0; feature < size; feature++)
            {
                all[(long)feature * bins / size]++;
            }

            foreach (int feature in plan.Blocks[block][site])
            {
                kept[(long)feature * bins / size]++;
            }

            int[] levels = [.. kept.Zip(all, (some, of) => (int)Math.Round((double)some / of * Levels))];
            for (int bin = 0, next; bin < bins; bin = next)
            {
                for (next = bin + 1; next < bins && levels[next] == levels[bin]; next++)
                {
                }

                paths[levels[bin]].Append(CultureInfo.InvariantCulture, $"M{bin} {block}h{next - bin}v1h-{next - bin}z");
            }
        }

        for (int level = 1; level <= Levels; level++)
        {
            if (paths[level].Length > 0)
            {
                canvas.Cells(Left, top, Width / bins, row, paths[level].ToString(), "after", (double)level / Levels);
            }
        }
    }

    private static void DrawOverlaps(SvgCanvas canvas, AdjacentBlockOverlap[] shares, double top, double row, double bottom)
    {
        canvas.Text(OverlapLeft, top - 5, "overlap", "note");
        canvas.Rectangle(OverlapLeft, top + row / 2, OverlapWidth, shares.Length * row, "ground");
        double gap = Math.Min(2, row / 4);
        foreach (var share in shares)
        {
            // Half a row lower: an overlap is drawn between its two blocks.
            double y = top + (share.Block + 0.5) * row;
            canvas.Rectangle(
                OverlapLeft, y + gap / 2, OverlapWidth * share.Jaccard, row - gap, "before",
                $"Blocks {share.Block} and {share.Block + 1} share {Markup.Percent(share.Jaccard)}, at random "
                    + $"{Markup.Percent(share.ExpectedJaccard)}");
            double chance = OverlapLeft + OverlapWidth * share.ExpectedJaccard;
            canvas.Line(chance, y, chance, y + row, "chance");
        }

        canvas.Text(OverlapLeft, bottom + 14, "0", "note");
        canvas.Text(OverlapLeft + OverlapWidth, bottom + 14, Markup.Percent(1), "note", "end");
    }
}
