namespace DispLlm.Reporting;

/// <summary>Losses and kept fraction over the steps of a run.</summary>
internal static class TrainingChart
{
    private const int Points = 170;
    private const double Left = 40, Right = 334, Bottom = 168, Height = 190;

    public static IReadOnlyList<ChartPanel> Panels(RunReport report)
    {
        var history = report.History;
        if (history.Count == 0)
        {
            return [];
        }

        double? target = report.Plan.Provenance.Budget is { } budget ? Target(report.Plan, budget) : null;
        return
        [
            Panel(history, "Cross-entropy", "nats a token, of the gated model", step => step.CrossEntropy, Markup.Measure, null),
            Panel(history, "Budget loss", "0 where the gates keep just the target", step => step.BudgetLoss, Markup.Measure, null),
            Panel(
                history, "Kept fraction", target is { } share ? $"of the parameters counted; dashed: {Markup.Share(share)}, the target" : "of the parameters counted",
                step => step.KeptFraction, Markup.Share, target),
        ];
    }

    private static double Target(SelectionPlan plan, PruningBudget budget)
    {
        var counter = new ParameterCounter(plan.Model);
        return (double)budget.TargetFor(counter) / counter.Dense[budget.Scope];
    }

    private static ChartPanel Panel(
        IReadOnlyList<PruningProgress> history, string title, string note, Func<PruningProgress, double> read, Func<double, string> say, double? target)
    {
        var bins = Bins(history, read);
        string description = bins.Count == 0
            ? "No finite value."
            : $"{title} over {history.Count} steps: from {say(read(history[0]))} at the first to {say(read(history[^1]))} at the last.";
        return ChartPanel.Draw(title, note, description, Height, canvas =>
        {
            if (bins.Count > 0)
            {
                Draw(canvas, bins, history[^1].Step, say, target);
            }
        });
    }

    private static void Draw(SvgCanvas canvas, List<Bin> bins, int steps, Func<double, string> say, double? target)
    {
        double low = Math.Min(bins.Min(bin => bin.Low), target ?? double.MaxValue), high = Math.Max(bins.Max(bin => bin.High), target ?? double.MinValue);
        var y = ChartScale.Around(low, high, Bottom, ChartPanel.Top);
        double X(double step) => Left + (Right - Left) * step / steps;
        foreach (double mark in y.Marks)
        {
            canvas.Line(Left, y[mark], Right, y[mark]);
            canvas.Text(Left - 5, y[mark] + 4, say(mark), "note", "end");
        }

        canvas.Text(Left, Bottom + 16, "step 0", "note");
        canvas.Text(Right, Bottom + 16, Markup.Count(steps), "note", "end");
        if (bins.Exists(bin => bin.Low < bin.High))
        {
            canvas.Path([.. bins.Select(bin => (X(bin.Step), y[bin.High])), .. bins.AsEnumerable().Reverse().Select(bin => (X(bin.Step), y[bin.Low]))], "band", closed: true);
        }

        canvas.Path(bins.Select(bin => (X(bin.Step), y[bin.Mean])), "curve");
        if (target is { } line)
        {
            canvas.Line(Left, y[line], Right, y[line], "target");
        }
    }

    /// <summary>Ten thousand steps are more than a picture has room for: neighbours are drawn as their mean, between the least and the greatest.</summary>
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
