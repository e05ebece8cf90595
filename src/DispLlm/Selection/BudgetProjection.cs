using System.Globalization;

namespace DispLlm.Training;

/// <summary>How scores are turned into a plan.</summary>
public sealed record BudgetProjectionOptions
{
    private readonly int _widthMultiple = 1;

    /// <summary>
    /// Widths are held to multiples of this many indices, for hardware that wants them: at least 1, usually 8 to 128. A site may
    /// also keep its full size, whatever that is. Default: 1.
    /// </summary>
    /// <exception cref="BudgetException">Below 1.</exception>
    public int WidthMultiple
    {
        get => _widthMultiple;
        init => _widthMultiple = value >= 1 ? value : throw new BudgetException($"The width multiple is {value}; it must be at least 1.");
    }

    /// <summary>
    /// Whether S1, S2, S3 and S5 of all blocks keep the same features of the stream, as regular structural pruning does (paper, Fig. 1). A
    /// feature's score is then its mean over all those sites. Default no: that no two sites are tied is the point of the method.
    /// </summary>
    public bool SharedStream { get; init; }

    /// <summary>The order of norm and selection that the plan will say. Default: <see cref="NormOrder.NormThenSelect"/>.</summary>
    public NormOrder NormOrder { get; init; }

    /// <summary>The family's name that the plan will say; null for none.</summary>
    public string? Family { get; init; }

    /// <summary>The strategy's name that the plan will say; null for none.</summary>
    public string? Strategy { get; init; }

    /// <summary>The seed that the plan will say; null for none.</summary>
    public long? Seed { get; init; }

    /// <summary>Notes that the plan will carry; null for none.</summary>
    public string? Notes { get; init; }
}

/// <summary>
/// Turns scores into the plan that meets a budget exactly (method, section 6): one threshold for the whole model, as low as the
/// exact integer parameter count allows, at least one index per site, widths in multiples where asked for. Nothing is drawn.
/// </summary>
public static class BudgetProjection
{
    /// <summary>Checks, before anything is learned, that some selection of a model can meet a budget.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="budget">The budget.</param>
    /// <param name="options">The options that the projection will get; null for defaults.</param>
    /// <returns>The most parameters that may stay, in the budget's scope.</returns>
    /// <exception cref="BudgetException">No selection is that small; the message names the closest that is.</exception>
    /// <exception cref="SelectionException">The model's norms do not leave the order that the options ask for.</exception>
    public static long EnsureReachable(DecoderSpec spec, PruningBudget budget, BudgetProjectionOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(budget);
        options ??= new();
        options.NormOrder.EnsureFits(spec);
        return EnsureReachable(new ParameterCounter(spec), budget, options.WidthMultiple);
    }

    /// <summary>
    /// Projects scores on a budget. Each site's gates are ranked (score, then index) and taken in chunks of
    /// <see cref="BudgetProjectionOptions.WidthMultiple"/>, a chunk's score being the mean of its gates; the first chunk of every
    /// site stays. The others are taken in the order of their scores (ties: layout order) until the next one exceeds the budget;
    /// from there on each that still fits and whose predecessor in its site was taken. What is left of the budget is then less
    /// than any further chunk costs.
    /// </summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="scores">A score for each gate.</param>
    /// <param name="budget">The budget.</param>
    /// <param name="options">Width multiple, and what the plan says of itself; null for defaults.</param>
    /// <exception cref="BudgetException">No selection is that small; the message names the closest that is.</exception>
    /// <exception cref="SelectionException">The scores are laid out for another model, or its norms do not leave the order asked for.</exception>
    public static SelectionPlan Project(
        DecoderSpec spec, SelectionScores scores, PruningBudget budget, BudgetProjectionOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(budget);
        options ??= new();
        options.NormOrder.EnsureFits(spec);
        var counter = new ParameterCounter(spec);
        var layout = scores.Layout;
        if (!layout.Sites.SequenceEqual(new GateLayout(spec).Sites))
        {
            throw new SelectionException($"The scores are laid out for another model: {layout.Count} gates at {layout.Sites.Count} sites.");
        }

        long target = EnsureReachable(counter, budget, options.WidthMultiple);
        int[] ranked = new int[layout.Count];
        int[][] groups = Groups(layout, options.SharedStream);
        var chunks = Rank(scores, groups, options.WidthMultiple, ranked);
        var widths = Fill(counter, layout, groups, chunks, options.WidthMultiple, budget.Scope, target);
        return new SelectionPlan(counter.Shape, Take(layout, ranked, widths))
        {
            Family = options.Family,
            NormOrder = options.NormOrder,
            Provenance = new PlanProvenance
            {
                Strategy = options.Strategy,
                Seed = options.Seed,
                Budget = budget,
                WidthMultiple = options.WidthMultiple,
                Notes = options.Notes,
            },
        };
    }

    private static long EnsureReachable(ParameterCounter counter, PruningBudget budget, int multiple)
    {
        long target = budget.TargetFor(counter);
        long smallest = counter.Count(Smallest(counter.Shape, multiple))[budget.Scope];
        if (smallest <= target)
        {
            return target;
        }

        long dense = counter.Dense[budget.Scope];
        // Rounded towards the dense model, so that what the message suggests can be asked for.
        decimal ratio = Math.Floor((1m - (decimal)smallest / dense) * 1_000_000m) / 1_000_000m;
        throw new BudgetException(string.Create(
            CultureInfo.InvariantCulture,
            $"The budget ({budget}) leaves {target} of {dense} parameters, but the smallest selection has {smallest}: every site "
            + $"keeps at least one index (width multiple {multiple}) and some parameters are never cut. The closest that can be "
            + $"reached is {smallest} parameters: a kept fraction of {1m - ratio}, a pruning ratio of {ratio}."))
        {
            SmallestReachable = smallest,
        };
    }

    private static SiteMap<int>[] Smallest(ModelShape shape, int multiple) =>
        [.. Enumerable.Repeat(SiteMap.Create(site => Math.Min(multiple, shape.SiteSize(site))), shape.NumLayers)];

    /// <summary>Sites that select alike, by their places in the layout: each by itself, or all of the stream together.</summary>
    private static int[][] Groups(GateLayout layout, bool sharedStream)
    {
        var sites = Enumerable.Range(0, layout.Sites.Count);
        if (!sharedStream)
        {
            return [.. sites.Select(site => new[] { site })];
        }

        var hidden = sites.ToLookup(site => !layout.Sites[site].Site.Descriptor().IsOnStream);
        return [[.. hidden[false]], .. hidden[true].Select(site => new[] { site })];
    }

    /// <summary>Some gates of one group of sites, taken together.</summary>
    /// <param name="Score">Mean score of its gates.</param>
    /// <param name="Group">Which group, in layout order.</param>
    /// <param name="Index">Which chunk of its group, from 0 for the best.</param>
    private readonly record struct Chunk(double Score, int Group, int Index) : IComparable<Chunk>
    {
        public int CompareTo(Chunk other)
        {
            int order = other.Score.CompareTo(Score);
            order = order != 0 ? order : Group.CompareTo(other.Group);
            return order != 0 ? order : Index.CompareTo(other.Index);
        }
    }

    /// <summary>Ranks every site's gates into <paramref name="ranked"/> (indices in the site); returns all chunks, best first.</summary>
    private static Chunk[] Rank(SelectionScores scores, int[][] groups, int multiple, int[] ranked)
    {
        var sites = scores.Layout.Sites;
        var chunks = new List<Chunk>(ranked.Length / multiple + sites.Count);
        for (int g = 0; g < groups.Length; g++)
        {
            float[] values = Mean(scores, groups[g]);

            // Score and index in one integer: sorts fast, and ties fall to the smaller index on every machine.
            ulong[] keys = new ulong[values.Length];
            for (int i = 0; i < keys.Length; i++)
            {
                keys[i] = (ulong)~Ascending(values[i]) << 32 | (uint)i;
            }

            Array.Sort(keys);
            double previous = double.PositiveInfinity;
            for (int start = 0; start < keys.Length; start += multiple)
            {
                int end = (int)Math.Min((long)start + multiple, keys.Length);
                double sum = 0;
                for (int i = start; i < end; i++)
                {
                    int gate = (int)(uint)keys[i];
                    sum += values[gate];
                    foreach (int site in groups[g])
                    {
                        ranked[sites[site].Offset + i] = gate;
                    }
                }

                // Means of a descending list descend, but for rounding; the order within a site must not depend on it.
                previous = Math.Min(previous, sum / (end - start));
                chunks.Add(new Chunk(previous, g, start / multiple));
            }
        }

        var sorted = chunks.ToArray();
        Array.Sort(sorted);
        return sorted;
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

    /// <summary>
    /// One pass finds the threshold and fills what it leaves: up to the threshold every chunk fits, since counts only grow. A chunk that
    /// does not fit closes its group for good, because the room only shrinks and costs only rise as other sites widen.
    /// </summary>
    private static SiteMap<int>[] Fill(
        ParameterCounter counter, GateLayout layout, int[][] groups, Chunk[] chunks, int multiple, ParameterScope scope, long target)
    {
        var widths = Smallest(counter.Shape, multiple);
        int[] taken = new int[groups.Length];
        Array.Fill(taken, 1);
        long room = target - counter.Count(widths)[scope];
        foreach (var chunk in chunks)
        {
            if (chunk.Index != taken[chunk.Group])
            {
                // The first chunk, which stays anyway, or one whose predecessor did not fit.
                continue;
            }

            // No two sites of a group multiply each other in the count, so that their costs add.
            long cost = 0;
            foreach (int place in groups[chunk.Group])
            {
                var site = layout.Sites[place];
                var block = widths[site.Block];
                cost = checked(cost + (Wider(block[site.Site], multiple, site.Size) - block[site.Site]) * counter.CostPerIndex(site.Site, block, scope));
            }

            if (cost <= room)
            {
                room -= cost;
                taken[chunk.Group]++;
                foreach (int place in groups[chunk.Group])
                {
                    var site = layout.Sites[place];
                    ref var block = ref widths[site.Block];
                    block = block.With(site.Site, Wider(block[site.Site], multiple, site.Size));
                }
            }
        }

        return widths;
    }

    private static int Wider(int width, int multiple, int size) => (int)Math.Min((long)width + multiple, size);

    private static BlockSelection[] Take(GateLayout layout, int[] ranked, SiteMap<int>[] widths)
    {
        IReadOnlyList<int> Kept(int block, SelectionSite site)
        {
            var kept = ranked.AsSpan(layout[block, site].Offset, widths[block][site]).ToArray();
            Array.Sort(kept);
            return kept;
        }

        return [.. Enumerable.Range(0, widths.Length).Select(block => new BlockSelection(SiteMap.Create(site => Kept(block, site))))];
    }

    // The bits of a float as an unsigned integer in the same order; the two zeros are one.
    private static uint Ascending(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value + 0f);
        return (bits & 0x8000_0000) == 0 ? bits | 0x8000_0000 : ~bits;
    }
}
