using System.Globalization;

namespace DispLlm.Training;

/// <summary>How scores are turned into a plan. An immutable value.</summary>
public sealed record BudgetProjectionOptions
{
    private readonly int _widthMultiple = 1;

    /// <summary>
    /// Widths are multiples of this many indices, for hardware that wants them: at least 1, usually 8 to 128. A site may also keep its full
    /// size, whatever that is. Default: 1.
    /// </summary>
    /// <exception cref="BudgetException">Below 1.</exception>
    public int WidthMultiple
    {
        get => _widthMultiple;
        init => _widthMultiple = value >= 1 ? value : throw new BudgetException($"The width multiple is {value}; it must be at least 1.");
    }

    /// <summary>
    /// Whether S1, S2, S3 and S5 of all blocks keep the same features of the residual stream, as regular structural pruning does (DISP-LLM,
    /// Fig. 1). A feature's score is then its mean over all those sites. Default no. It cannot be combined with <see cref="Constraints"/>.
    /// </summary>
    public bool SharedStream { get; init; }

    /// <summary>What has to be left alone. Default: nothing.</summary>
    public BudgetConstraints Constraints { get; init; } = BudgetConstraints.None;

    /// <summary>The order of norm and selection that the plan will say. Default: <see cref="NormOrder.NormThenSelect"/>.</summary>
    public NormOrder NormOrder { get; init; }

    /// <summary>The family's name that the plan will say; null for none.</summary>
    public string? Family { get; init; }

    /// <summary>The strategy's name that the plan will say; null for none.</summary>
    public string? Strategy { get; init; }

    /// <summary>The seed that the plan will say; null for none.</summary>
    public long? Seed { get; init; }

    /// <summary>Notes of the plan; null for none. Constraints are added to them.</summary>
    public string? Notes { get; init; }
}

/// <summary>
/// Turns scores into the plan that meets a budget exactly (docs/method.md, Projection onto the budget): one threshold for the whole model,
/// as low as the exact integer parameter count allows, at least one index per site, widths in multiples where asked for. Deterministic and
/// thread-safe.
/// </summary>
public static class BudgetProjection
{
    /// <summary>Checks, before anything is learned, that some selection of a model can meet a budget.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="budget">The budget.</param>
    /// <param name="options">The options that the projection will get; null for defaults.</param>
    /// <returns>The most parameters that may be kept, in the budget's scope.</returns>
    /// <exception cref="BudgetException">No selection is that small; the message names the closest that is.</exception>
    /// <exception cref="SelectionException">The model's norms do not leave the order that the options ask for.</exception>
    public static long EnsureReachable(DecoderSpec spec, PruningBudget budget, BudgetProjectionOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(budget);
        options ??= new();
        options.NormOrder.EnsureFits(spec);
        var counter = new ParameterCounter(spec);
        return EnsureReachable(counter, budget, options,
            new BlockFloors(counter, options.Constraints, budget.Scope, options.WidthMultiple));
    }

    /// <summary>
    /// Projects scores on a budget. Each site's gates are ranked (score, then index) and taken in chunks of
    /// <see cref="BudgetProjectionOptions.WidthMultiple"/>, a chunk's score being the mean of its gates; the first chunk of every
    /// site is kept. The others are taken in the order of their scores (ties: layout order) until the next one exceeds the budget;
    /// from there on each that still fits and whose predecessor in its site was taken. What is left of the budget is then less
    /// than any further chunk costs. Under constraints, excluded sites are kept whole, and blocks with a largest ratio are brought
    /// up to what it leaves first, by their best chunks.
    /// </summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="scores">A score for each gate.</param>
    /// <param name="budget">The budget.</param>
    /// <param name="options">Width multiple, and what the plan says of itself; null for defaults.</param>
    /// <exception cref="BudgetException">No selection is that small; the message names the closest that is.</exception>
    /// <exception cref="SelectionException">
    /// The scores are laid out for another model, or its norms do not leave the order asked for.
    /// </exception>
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

        var floors = new BlockFloors(counter, options.Constraints, budget.Scope, options.WidthMultiple);
        long target = EnsureReachable(counter, budget, options, floors);
        int[] ranked = new int[layout.Count];
        int[][] groups = Groups(layout, options.SharedStream);
        var chunks = Rank(scores, groups, options.WidthMultiple, ranked);
        var widths = new BudgetFill(counter, layout, groups, floors, options.WidthMultiple, budget.Scope, target).Fill(chunks);
        string? notes = options.Constraints.IsEmpty ? options.Notes
            : options.Notes is null ? options.Constraints.ToString()
            : $"{options.Notes}; {options.Constraints}";
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
                Notes = notes,
            },
        };
    }

    private static long EnsureReachable(ParameterCounter counter, PruningBudget budget, BudgetProjectionOptions options, BlockFloors floors)
    {
        if (options.SharedStream && !options.Constraints.IsEmpty)
        {
            throw new BudgetException("One selection for the whole residual stream cannot leave single sites or blocks alone.");
        }

        long target = budget.TargetFor(counter);
        long smallest = counter.Count([.. floors.Smallest().Select((widths, block) => floors.Complete(block, widths))])[budget.Scope];
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
            + $"keeps at least one index (width multiple {options.WidthMultiple}) and some parameters are never cut"
            + $"{(options.Constraints.IsEmpty ? string.Empty : $" ({options.Constraints})")}. The closest that can be "
            + $"reached is {smallest} parameters: a kept fraction of {1m - ratio}, a pruning ratio of {ratio}."))
        {
            SmallestReachable = smallest,
        };
    }

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

    /// <summary>Ranks every site's gates into <paramref name="ranked"/> (indices in the site); returns all chunks, best first.</summary>
    private static BudgetChunk[] Rank(SelectionScores scores, int[][] groups, int multiple, int[] ranked)
    {
        var sites = scores.Layout.Sites;
        var chunks = new List<BudgetChunk>(ranked.Length / multiple + sites.Count);
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
                chunks.Add(new BudgetChunk(previous, g, start / multiple));
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
