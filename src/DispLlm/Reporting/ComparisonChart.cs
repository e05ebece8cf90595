namespace DispLlm.Reporting;

/// <summary>Bars of the dense and the pruned model side by side.</summary>
internal static class ComparisonChart
{
    private const double BarHeight = 9, Longest = 262, GroupHeight = 43;

    /// <summary>Perplexity and zero-shot tasks.</summary>
    public static IReadOnlyList<ChartPanel> Quality(RunReport report)
    {
        var panels = new List<ChartPanel>();
        if (report.Perplexity is { } perplexity)
        {
            panels.Add(Panel("Perplexity", "lower is better", null, [new("", perplexity.Before.Perplexity, perplexity.After.Perplexity, Markup.Measure)]));
        }

        if (report.Tasks.Count > 0)
        {
            panels.Add(Panel("Zero-shot accuracy", "higher is better; lines: one standard error to either side", 1, [.. report.Tasks.Select(TaskBars)]));
        }

        return panels;
    }

    /// <summary>Size and speed, each against the dense model.</summary>
    public static IReadOnlyList<ChartPanel> Cost(RunReport report)
    {
        var size = new List<Bars> { Count("block weights", ParameterScope.BlockWeights), Count("all parameters", ParameterScope.WholeModel) };
        if (report.WeightBytes is { } bytes)
        {
            size.Add(new Bars("weights on disk", 1, (double)bytes.After / bytes.Before, Markup.Times));
        }

        var speed = new List<Bars>();
        if (report.Prefill is { } prefill)
        {
            speed.Add(new Bars("reading (prefill)", 1, prefill.After / prefill.Before, Markup.Times));
        }

        if (report.Decode is { } decode)
        {
            speed.Add(new Bars("writing (decode)", 1, decode.After / decode.Before, Markup.Times));
        }

        ChartPanel[] panels = [Panel("Size", "against the dense model; smaller is better", null, size)];
        return speed.Count == 0 ? panels : [.. panels, Panel("Speed", "against the dense model, in the same run; more is better", null, speed)];

        Bars Count(string label, ParameterScope scope) => new(label, 1, report.Plan.KeptFraction(scope), Markup.Times);
    }

    /// <summary>The figure that publications give: normalised by length where the task has that.</summary>
    public static (double Value, double Error) Published(ZeroShotScore score) =>
        (score.NormalizedAccuracy ?? score.Accuracy, score.NormalizedAccuracyError ?? score.AccuracyError);

    private static Bars TaskBars(BeforeAfter<ZeroShotScore> task)
    {
        var (before, after) = (Published(task.Before), Published(task.After));
        return new Bars(task.Before.Task, before.Value, after.Value, Markup.Rate) { Errors = (before.Error, after.Error) };
    }

    private static ChartPanel Panel(string title, string note, double? full, IReadOnlyList<Bars> groups)
    {
        double high = full ?? groups.SelectMany(group => new[] { group.Before, group.After }).Where(double.IsFinite).DefaultIfEmpty(1).Max();
        double label = groups.Any(group => group.Label.Length > 0) ? 14 : 0, height = GroupHeight - 14 + label;
        string description = string.Join("; ", groups.Select(
            group => $"{(group.Label.Length > 0 ? group.Label : title)}: {group.Say(group.Before)} before, {group.Say(group.After)} after")) + ".";
        return ChartPanel.Draw(title, note, description, ChartPanel.Top + groups.Count * height + 22, canvas =>
        {
            double y = ChartPanel.Top;
            foreach (var group in groups)
            {
                if (label > 0)
                {
                    canvas.Text(0, y + 8, group.Label);
                }

                Bar(canvas, y + label, group.Before, group.Errors?.Before, high, group.Say, "before");
                Bar(canvas, y + label + BarHeight + 2, group.After, group.Errors?.After, high, group.Say, "after");
                y += height;
            }

            canvas.Rectangle(0, y + 6, 9, 9, "before");
            canvas.Text(14, y + 14, "dense", "note");
            canvas.Rectangle(60, y + 6, 9, 9, "after");
            canvas.Text(74, y + 14, "pruned", "note");
        });
    }

    private static void Bar(SvgCanvas canvas, double y, double value, double? error, double high, Func<double, string> say, string look)
    {
        double Length(double of) => double.IsNaN(of) ? 0 : Math.Clamp(of / high, 0, 1) * Longest;
        double end = Length(value);
        canvas.Rectangle(0, y, end, BarHeight, look);
        if (error is { } deviation)
        {
            (double from, end) = (Length(value - deviation), Length(value + deviation));
            canvas.Line(from, y + BarHeight / 2, end, y + BarHeight / 2, "chance");
        }

        canvas.Text(end + 6, y + BarHeight - 0.5, say(value));
    }

    private sealed record Bars(string Label, double Before, double After, Func<double, string> Say)
    {
        public (double Before, double After)? Errors { get; init; }
    }
}
