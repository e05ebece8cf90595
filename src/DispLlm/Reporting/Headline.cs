using System.Globalization;

namespace DispLlm.Reporting;

/// <summary>Summarizes a report in one sentence: what was removed, what it cost, what it gained.</summary>
internal static class Headline
{
    public static string Describe(RunReport report)
    {
        var parts = new List<string> { DescribeRemoved(report.Plan) };
        if (report.Perplexity is { } perplexity)
        {
            parts.Add(
                $"perplexity {Markup.Number(perplexity.Before.Perplexity)}\u00A0\u2192\u00A0{Markup.Number(perplexity.After.Perplexity)}");
        }

        if (report.Prefill is { } prefill)
        {
            parts.Add($"prefill {Speed(prefill)}");
        }

        if (report.Decode is { } decode)
        {
            parts.Add($"decode {Speed(decode)}");
        }

        return string.Join("; ", parts);
    }

    private static string DescribeRemoved(SelectionPlan plan)
    {
        double removed = 1 - plan.KeptFraction();
        string share = Math.Abs(removed - 0.5) < 0.005 ? "Half" : Markup.Percent(removed);
        return removed == 0 ? "All block weights are kept" : $"{share} of the block weights removed";
    }

    private static string Speed(BeforeAfter<double> speed) =>
        (speed.After / speed.Before).ToString("0.0", CultureInfo.InvariantCulture) + " times as fast";
}
