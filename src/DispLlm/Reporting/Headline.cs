using System.Globalization;

namespace DispLlm.Reporting;

/// <summary>The answer, in one sentence: what is gone, what it cost, what it gained.</summary>
internal static class Headline
{
    public static string Describe(RunReport report)
    {
        var parts = new List<string> { Gone(report.Plan) };
        if (report.Perplexity is { } perplexity)
        {
            parts.Add($"perplexity {Markup.Measure(perplexity.Before.Perplexity)}\u00A0\u2192\u00A0{Markup.Measure(perplexity.After.Perplexity)}");
        }

        if (report.Prefill is { } prefill)
        {
            parts.Add($"reads {Speed(prefill)}");
        }

        if (report.Decode is { } decode)
        {
            parts.Add($"writes {Speed(decode)}");
        }

        return string.Join("; ", parts);
    }

    private static string Gone(SelectionPlan plan)
    {
        double gone = 1 - plan.KeptFraction();
        string share = Math.Abs(gone - 0.5) < 0.005 ? "Half" : Markup.Share(gone);
        return gone == 0 ? "All block weights stay" : $"{share} of the block weights are gone";
    }

    private static string Speed(BeforeAfter<double> speed) => (speed.After / speed.Before).ToString("0.0", CultureInfo.InvariantCulture) + " times as fast";
}
