namespace DispLlm.Reporting;

/// <summary>Bars of the dense and the pruned model.</summary>
internal static class ComparisonChart
{
    private const double BarHeight = 9, MaxLength = 262, GroupHeight = 43;

    /// <summary>Panels of perplexity and zero-shot tasks.</summary>
    public static IReadOnlyList<ChartPanel> CreateQualityPanels(RunReport report)
    {
        var panels = new List<ChartPanel>();
        if (report.Perplexity is { } perplexity)
        {
            panels.Add(
                Panel(
                    "Perplexity", "lower is better", null,
                    [new("", perplexity.Before.Perplexity, perplexity.After.Perplexity, Markup.Number)]));
        }

        if (report.Tasks.Count > 0)
        {
            panels.Add(Panel("Zero-shot accuracy", "higher is better; lines: one standard error", 1, [.. report.Tasks.Select(TaskBars)]));
        }

        return panels;
    }

    /// <summary>Panels of size and speed relative to the dense model.</summary>
    public static IReadOnlyList<ChartPanel> CreateCostPanels(RunReport report)
    {
        var size = new List<Bars>
        {
            Count("block weights", ParameterScope.BlockWeights),
            Count("all parameters", ParameterScope.WholeModel),
        };
        if (report.WeightBytes is { } bytes)
        {
            size.Add(new Bars("weights on disk", 1, (double)bytes.After / bytes.Before, Markup.Ratio));
        }

        var speed = new List<Bars>();
        if (report.Prefill is { } prefill)
        {
            speed.Add(new Bars("prefill", 1, prefill.After / prefill.Before, Markup.Ratio));
        }

        if (report.Decode is { } decode)
        {
            speed.Add(new Bars("decode", 1, decode.After / decode.Before, Markup.Ratio));
        }

        ChartPanel[] panels = [Panel("Size", "relative to the dense model; smaller is better", null, size)];
        return speed.Count == 0 ? panels : [.. panels, Panel("Speed", "relative to the dense model; higher is better", null, speed)];

        Bars Count(string label, ParameterScope scope) => new(label, 1, report.Plan.KeptFraction(scope), Markup.Ratio);
    }

    /// <summary>The accuracy that publications report: normalized by length, where the task has that.</summary>
    public static (double Value, double Error) GetPublishedAccuracy(ZeroShotScore score) =>
        (score.NormalizedAccuracy ?? score.Accuracy, score.NormalizedAccuracyError ?? score.AccuracyError);

    private static Bars TaskBars(BeforeAfter<ZeroShotScore> task)
    {
        var (before, after) = (GetPublishedAccuracy(task.Before), GetPublishedAccuracy(task.After));
        return new Bars(task.Before.Task, before.Value, after.Value, Markup.FixedPercent) { Errors = (before.Error, after.Error) };
    }

    private static ChartPanel Panel(string title, string note, double? full, IReadOnlyList<Bars> groups)
    {
        double high =
            full ?? groups.SelectMany(group => new[] { group.Before, group.After }).Where(double.IsFinite).DefaultIfEmpty(1).Max();
        double label = groups.Any(group => group.Label.Length > 0) ? 14 : 0, height = GroupHeight - 14 + label;
        string description = string.Join("; ", groups.Select(
            group =>
                $"{(group.Label.Length > 0 ? group.Label : title)}: {group.Format(group.Before)} before, {group.Format(group.After)} "
                    + $"after")) + ".";
        return ChartPanel.Draw(title, note, description, ChartPanel.Top + groups.Count * height + 22, canvas =>
        {
            double y = ChartPanel.Top;
            foreach (var group in groups)
            {
                if (label > 0)
                {
                    canvas.Text(0, y + 8, group.Label);
                }

                Bar(canvas, y + label, group.Before, group.Errors?.Before, high, group.Format, "before");
                Bar(canvas, y + label + BarHeight + 2, group.After, group.Errors?.After, high, group.Format, "after");
                y += height;
            }

            canvas.Rectangle(0, y + 6, 9, 9, "before");
            canvas.Text(14, y + 14, "dense", "note");
            canvas.Rectangle(60, y + 6, 9, 9, "after");
            canvas.Text(74, y + 14, "pruned", "note");
        });
    }

    private static void Bar(SvgCanvas canvas, double y, double value, double? error, double high, Func<double, string> format, string style)
    {
        double Length(double x) => double.IsNaN(x) ? 0 : Math.Clamp(x / high, 0, 1) * MaxLength;
        double end = Length(value);
        canvas.Rectangle(0, y, end, BarHeight, style);
        if (error is { } deviation)
        {
            (double from, end) = (Length(value - deviation), Length(value + deviation));
            canvas.Line(from, y + BarHeight / 2, end, y + BarHeight / 2, "chance");
        }

        canvas.Text(end + 6, y + BarHeight - 0.5, format(value));
    }

    private sealed record Bars(string Label, double Before, double After, Func<double, string> Format)
    {
        public (double Before, double After)? Errors { get; init; }
    }
}
