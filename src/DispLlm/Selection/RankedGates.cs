namespace DispLlm.Modeling;

/// <summary>
/// The gates of every site in the order in which a budget keeps them: by score, then by index. Sites that share one selection have the mean
/// of their scores, and one order.
/// </summary>
internal sealed class RankedGates
{
    private readonly GateLayout _layout;
    private readonly int[][] _groups;
    private readonly int[] _order;
    private readonly float[] _scores;

    /// <param name="scores">A score for each gate.</param>
    /// <param name="layout">Which sites select alike.</param>
    public RankedGates(SelectionScores scores, PruningLayout layout)
    {
        _layout = scores.Layout;
        _groups = Groups(_layout, layout);
        _order = new int[_layout.Count];
        _scores = new float[_layout.Count];
        foreach (int[] group in _groups)
        {
            Rank(scores, group);
        }
    }

    /// <summary>Sites that share one selection, by their places in the layout: each by itself, or all of the stream together.</summary>
    public IReadOnlyList<int[]> SharedSites => _groups;

    /// <summary>The gates of a site by their rank, as indices within the site.</summary>
    public ReadOnlySpan<int> ForSite(GateRange site) => _order.AsSpan(site.Offset, site.Size);

    /// <summary>The scores of a site's gates by their rank.</summary>
    public ReadOnlySpan<float> Scores(GateRange site) => _scores.AsSpan(site.Offset, site.Size);

    /// <summary>All chunks, best first.</summary>
    /// <param name="multiple">How many gates of a site make a chunk.</param>
    public BudgetChunk[] Chunks(Func<SelectionSite, int> multiple)
    {
        var chunks = new List<BudgetChunk>();
        for (int g = 0; g < _groups.Length; g++)
        {
            var site = _layout.Sites[_groups[g][0]];
            var scores = Scores(site);
            int size = multiple(site.Site);
            double previous = double.PositiveInfinity;
            for (int start = 0; start < scores.Length; start += size)
            {
                int end = (int)Math.Min((long)start + size, scores.Length);
                double sum = 0;
                for (int i = start; i < end; i++)
                {
                    sum += scores[i];
                }

                // Means of a descending list descend, but for rounding; the order within a site must not depend on it.
                previous = Math.Min(previous, sum / (end - start));
                chunks.Add(new BudgetChunk(previous, g, start / size));
                if (end == scores.Length)
                {
                    break;
                }
            }
        }

        var sorted = chunks.ToArray();
        Array.Sort(sorted);
        return sorted;
    }

    private static int[][] Groups(GateLayout layout, PruningLayout pruning)
    {
        var sites = Enumerable.Range(0, layout.Sites.Count);
        if (!pruning.HasOneStream())
        {
            return [.. sites.Select(site => new[] { site })];
        }

        var onStream = sites.ToLookup(site => pruning.Shares(layout.Sites[site].Site));
        return [[.. onStream[true]], .. onStream[false].Select(site => new[] { site })];
    }

    private void Rank(SelectionScores scores, int[] group)
    {
        float[] values = Mean(scores, group);

        // Score and index in one integer: sorts fast, and ties fall to the smaller index on every machine.
        ulong[] keys = new ulong[values.Length];
        for (int i = 0; i < keys.Length; i++)
        {
            keys[i] = (ulong)~Ascending(values[i]) << 32 | (uint)i;
        }

        Array.Sort(keys);
        foreach (int place in group)
        {
            int offset = _layout.Sites[place].Offset;
            for (int i = 0; i < keys.Length; i++)
            {
                int gate = (int)(uint)keys[i];
                _order[offset + i] = gate;
                _scores[offset + i] = values[gate];
            }
        }
    }

    private static float[] Mean(SelectionScores scores, int[] group)
    {
        var first = scores.Layout.Sites[group[0]];
        float[] values = scores.Values.Slice(first.Offset, first.Size).ToArray();
        if (group.Length > 1)
        {
            for (int i = 0; i < values.Length; i++)
            {
                int gate = i;
                values[i] = (float)group.Average(site => (double)scores.Values[scores.Layout.Sites[site].Offset + gate]);
            }
        }

        return values;
    }

    // The bits of a float as an unsigned integer in the same order; the two zeros are one.
    private static uint Ascending(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value + 0f);
        return (bits & 0x8000_0000) == 0 ? bits | 0x8000_0000 : ~bits;
    }
}
