namespace DispLlm.Reporting;

/// <summary>Losses and kept fraction over the training steps.</summary>
internal static class TrainingChart
{
    private const int Points = 170;
    private const double Left = 40, Right = 334, Bottom = 168, Height = 190;

    public static IReadOnlyList<ChartPanel> CreatePanels(RunReport report)
    {
        var history = report.History;
        if (history.Count == 0)
        {
            return [];
        }

        double? target = report.Plan.Provenance.Budget is { } budget ? Target(report.Plan, budget) : null;
        return
        [
            Panel(history, "Cross-entropy", "nats per token, gated model", step => step.CrossEntropy, Markup.Number, null),
            Panel(history, "Budget loss", "0 where the gates keep exactly the target", step => step.BudgetLoss, Markup.Number, null),
            Panel(
                history,
                "Kept fraction",
                "of the counted parameters" + (target is { } share ? $"; dashed: the target, {Markup.Percent(share)}" : string.Empty),
                step => step.KeptFraction, Markup.Percent, target),
        ];
    }

    private static double Target(SelectionPlan plan, PruningBudget budget)
    {
        var counter = new ParameterCounter(plan.Model);
        return (double)budget.TargetFor(counter) / counter.Dense[budget.Scope];
    }

    private static ChartPanel Panel(
        IReadOnlyList<PruningProgress> history,
        string title,
        string note,
        Func<PruningProgress, double> read,
        Func<double, string> format,
        double? target)
    {
        var bins = Bins(history, read);
        string description = bins.Count == 0
            ? "No finite value."
            : $"{title} over {history.Count} steps: from {format(read(history[0]))} at the first to {format(read(history[^1]))} at the "
                + $"last.";
        return ChartPanel.Draw(title, note, description, Height, canvas =>
        {
            if (bins.Count > 0)
            {
                Draw(canvas, bins, history[^1].Step, format, target);
            }
        });
    }

    private static void Draw(SvgCanvas canvas, List<Bin> bins, int steps, Func<double, string> format, double? target)
    {
        double low = Math.Min(bins.Min(bin => bin.Low), target ?? double.MaxValue);
        double high = Math.Max(bins.Max(bin => bin.High), target ?? double.MinValue);
        var y = ChartScale.FromRange(low, high, Bottom, ChartPanel.Top);
        double X(double step) => Left + (Right - Left) * step / steps;
        foreach (double tick in y.Ticks)
        {
            canvas.Line(Left, y[tick], Right, y[tick]);
            canvas.Text(Left - 5, y[tick] + 4, format(tick), "note", "end");
        }

        canvas.Text(Left, Bottom + 16, "step 0", "note");
        canvas.Text(Right, Bottom + 16, Markup.Count(steps), "note", "end");
        if (bins.Exists(bin => bin.Low < bin.High))
        {
            var (upper, lower) = (bins.Select(bin => (X(bin.Step), y[bin.High])), bins.Select(bin => (X(bin.Step), y[bin.Low])));
            canvas.Path([.. upper, .. lower.Reverse()], "band", closed: true);
        }

        canvas.Path(bins.Select(bin => (X(bin.Step), y[bin.Mean])), "curve");
        if (target is { } line)
        {
            canvas.Line(Left, y[line], Right, y[line], "target");
        }
    }

    /// <summary>
    /// Groups adjacent steps, so that the chart has at most <see cref="Points"/> points: each is a mean with its minimum and maximum.
    /// </summary>
    private static List<Bin> Bins(IReadOnlyList<PruningProgress> history, Func<PruningProgress, double> read)
    {
        int size = (history.Count + Points - 1) / Points;
        return
        [
            .. history.Where(step => double.IsFinite(read(step))).Chunk(size).Select(steps => new Bin(
                steps.Average(step => step.Step), steps.Min(read), steps.Average(read), steps.Max(read))),
        ];
    }

    private readonly record struct Bin(double Step, double Low, double Mean, double High);
}
