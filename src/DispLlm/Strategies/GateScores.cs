namespace DispLlm.Training;

/// <summary>Turns what was measured at the gates into scores that compare across sites of different size and cost.</summary>
internal static class GateScores
{
    // A measurement may be exactly 0 (a feature that nothing reads). Its logarithm stays finite, far below all others.
    private const double Least = 1e-30;

    /// <summary>
    /// log(measured / parameters that closing the gate removes), given what each block keeps at present. A gate that all sites of the
    /// stream share removes a feature from all of them.
    /// </summary>
    public static SelectionScores PerParameter(GateLayout layout, ReadOnlySpan<float> measured, SelectionPlan present, ParameterScope scope)
    {
        var counter = new ParameterCounter(present.Model, present.NormOrder, present.Layout);
        var widths = present.Widths();
        float[] scores = new float[layout.Count];
        double Cost(GateRange site) => counter.CostPerIndex(site.Site, widths[site.Block], scope);
        bool IsShared(GateRange site) => present.Layout.Shares(site.Site);
        double costOfStream = layout.Sites.Where(IsShared).Sum(Cost) + counter.StreamCost(present.Layout, scope);
        foreach (var site in layout.Sites)
        {
            double cost = Math.Max(1, IsShared(site) ? costOfStream : Cost(site));
            for (int i = 0; i < site.Size; i++)
            {
                scores[site.Offset + i] = (float)Math.Log(measured[site.Offset + i] / cost + Least);
            }
        }

        return new SelectionScores(layout, scores);
    }

    /// <summary>
    /// Centred on the median and divided by the standard deviation over all gates that a layout selects by: the scale that logits start
    /// from.
    /// </summary>
    public static SelectionScores Standardised(SelectionScores scores, PruningLayout layout)
    {
        float[] values = scores.Values.ToArray();
        float[] sorted = [.. scores.Layout.Sites.Where(site => layout.Selects(site.Site))
            .SelectMany(site => scores.ForSite(site.Block, site.Site).ToArray()).Order()];
        double median = sorted[sorted.Length / 2];
        double mean = sorted.Average(value => (double)value);
        double deviation = Math.Sqrt(sorted.Average(value => (value - mean) * (value - mean)));
        return new SelectionScores(scores.Layout, [.. values.Select(value => (float)((value - median) / Math.Max(deviation, 1e-12)))]);
    }
}
