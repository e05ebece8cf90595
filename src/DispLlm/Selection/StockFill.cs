namespace DispLlm.Modeling;

/// <summary>
/// One width of the residual stream and one of the MLP for the whole model. The two are chosen on the budget: where the score of the last
/// kept feature of the stream is closest to that of the last kept MLP feature, among widths that leave at most a thousandth of the budget
/// unused.
/// </summary>
internal sealed class StockFill(
    ParameterCounter counter, RankedGates ranked, GateLayout gates, int multiple, ParameterScope scope, long target)
{
    // What runs ordinary models likes multiples of 32 best; less where no such width meets the budget.
    private static readonly int[] s_multiples = [32, 16, 8, 4, 2, 1];

    private const double LargestGap = 1e-3;

    // How far a width of the stream may be from where the scores alone would have it.
    private const double LargestDetour = 1.0 / 4;

    private readonly float[] _streamScores = ranked.Scores(gates[0, SelectionSite.AttentionInput]).ToArray();
    private readonly float[] _mlpScores = MlpScores(counter.Shape, ranked, gates);

    private sealed record Widths(int Stream, int Mlp, double Gap, double Distance);

    public SiteMap<int>[] Fill()
    {
        var best = Candidates(1).MinBy(widths => widths.Distance)!;
        var chosen = (multiple > 1 ? [multiple] : s_multiples).Select(multiple => Candidates(multiple)
            .Where(widths => widths.Gap <= LargestGap && Math.Abs(widths.Stream - best.Stream) <= LargestDetour * best.Stream)
            .MinBy(widths => widths.Distance)).FirstOrDefault(widths => widths is not null);
        chosen ??= Candidates(multiple).MinBy(widths => widths.Gap)!;
        return [.. Enumerable.Repeat(ToMap(chosen.Stream, chosen.Mlp), counter.Shape.NumLayers)];
    }

    /// <summary>For every width of the stream the widest MLP that the budget allows.</summary>
    private IEnumerable<Widths> Candidates(int mlpMultiple)
    {
        int[] mlps = Multiples(counter.Shape.IntermediateSize, mlpMultiple);
        foreach (int stream in Multiples(counter.Shape.HiddenSize, counter.Shape.NumAttentionHeads))
        {
            int fitting = CountFitting(mlps, stream);
            if (fitting > 0)
            {
                int mlp = mlps[fitting - 1];
                yield return new Widths(
                    stream, mlp, (double)(target - Count(stream, mlp)) / target,
                    Math.Abs((double)_streamScores[stream - 1] - _mlpScores[mlp - 1]));
            }
        }
    }

    /// <summary>How many of the widths, ascending, the budget allows.</summary>
    private int CountFitting(int[] mlps, int stream)
    {
        int fitting = 0, beyond = mlps.Length;
        while (fitting < beyond)
        {
            int middle = (fitting + beyond) / 2;
            if (Count(stream, mlps[middle]) <= target)
            {
                fitting = middle + 1;
            }
            else
            {
                beyond = middle;
            }
        }

        return fitting;
    }

    private long Count(int stream, int mlp) =>
        counter.Count([.. Enumerable.Repeat(ToMap(stream, mlp), counter.Shape.NumLayers)], PruningLayout.Stock)[scope];

    private SiteMap<int> ToMap(int stream, int mlp) => SiteMap.Create(site =>
        site.Descriptor().IsOnStream ? stream : site == SelectionSite.MlpHidden ? mlp : counter.Shape.SiteSize(site));

    /// <summary>The mean score, over all blocks, of the feature of each rank.</summary>
    private static float[] MlpScores(ModelShape shape, RankedGates ranked, GateLayout gates)
    {
        float[] sum = new float[shape.IntermediateSize];
        for (int block = 0; block < shape.NumLayers; block++)
        {
            var scores = ranked.Scores(gates[block, SelectionSite.MlpHidden]);
            for (int i = 0; i < sum.Length; i++)
            {
                sum[i] += scores[i] / shape.NumLayers;
            }
        }

        return sum;
    }

    /// <summary>All multiples up to a size, and the size itself.</summary>
    private static int[] Multiples(int size, int multiple) =>
        [.. Enumerable.Range(1, size / multiple).Select(i => i * multiple), .. size % multiple == 0 ? Array.Empty<int>() : [size]];
}
