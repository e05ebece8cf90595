namespace DispLlm.Reporting;

/// <summary>The kept fraction of each block: one panel for whole blocks and one per site, with one bar per block.</summary>
internal static class WidthsChart
{
    private const double Left = 40, Right = 334, Bottom = 130, Height = 152;

    public static IReadOnlyList<ChartPanel> CreatePanels(SelectionPlan plan) =>
    [
        Panel("Whole blocks", "block weights", plan, CountBlockWeights(plan)),
        .. plan.SelectingSites().Select(site => Panel(
            site.GetTitle(), $"{site.Descriptor().Unit}s", plan,
            [.. plan.Blocks.Select(block => (block[site].Count, (long)plan.Model.SiteSize(site)))])),
    ];

    private static (long Kept, long Size)[] CountBlockWeights(SelectionPlan plan)
    {
        var counter = new ParameterCounter(plan.Model with { NumLayers = 1 });
        return [.. plan.Widths().Select(widths => (counter.Count([widths]).BlockWeights, counter.Dense.BlockWeights))];
    }

    private static ChartPanel Panel(string title, string unit, SelectionPlan plan, (long Kept, long Size)[] blocks)
    {
        double[] shares = [.. blocks.Select(block => (double)block.Kept / block.Size)];
        int least = Array.IndexOf(shares, shares.Min()), most = Array.IndexOf(shares, shares.Max());
        string note = $"{Markup.Percent(shares.Average())} of {Markup.Count(blocks[0].Size)} {unit} kept, {Markup.Percent(shares[least])} "
            + $"to {Markup.Percent(shares[most])}";
        string description =
            $"{note}; block {least} keeps the fewest, block {most} the most. One bar for each of {plan.Blocks.Count} blocks.";
        return ChartPanel.Draw(title, note, description, Height, canvas =>
        {
            var y = ChartScale.FromRange(0, 1, Bottom, ChartPanel.Top);
            foreach (double tick in new[] { 0, 0.5, 1 })
            {
                canvas.Line(Left, y[tick], Right, y[tick]);
                canvas.Text(Left - 5, y[tick] + 4, Markup.Percent(tick), "note", "end");
            }

            double pitch = (Right - Left) / shares.Length, gap = Math.Min(2, pitch / 4);
            for (int block = 0; block < shares.Length; block++)
            {
                canvas.Rectangle(
                    Left + block * pitch + gap / 2, y[shares[block]], pitch - gap, Bottom - y[shares[block]], "after",
                    $"Block {block}: {Markup.Count(blocks[block].Kept)} of {Markup.Count(blocks[block].Size)} "
                        + $"({Markup.Percent(shares[block])})");
            }

            canvas.Text(Left, Bottom + 16, "block 0", "note");
            canvas.Text(Right, Bottom + 16, $"{shares.Length - 1}", "note", "end");
        });
    }
}
