using System.Globalization;

namespace DispLlm.Training;

/// <summary>How scores are turned into a plan. An immutable value.</summary>
public sealed record BudgetProjectionOptions
{
    private readonly int _widthMultiple = 1;
    private readonly PruningLayout _layout;

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
    /// Which sites may be cut, and which select alike. Default: the paper's. With one stream, a feature's score is its mean over all sites
    /// of the stream, and the only constraint that can be combined with it is <see cref="BudgetConstraints.MinAttentionGroups"/>.
    /// </summary>
    /// <exception cref="SelectionException">No such layout.</exception>
    public PruningLayout Layout
    {
        get => _layout;
        init => _layout = value.Checked();
    }

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
        options.NormOrder.EnsureFits(spec, options.Layout);
        var counter = new ParameterCounter(ModelShape.FromSpec(spec), options.NormOrder, options.Layout);
        return EnsureReachable(counter, budget, options, new BlockFloors(counter, options, budget.Scope));
    }

    /// <summary>
    /// Projects scores on a budget. Each site's gates are ranked (score, then index) and taken in chunks of
    /// <see cref="BudgetProjectionOptions.WidthMultiple"/> (key-value groups one by one), a chunk's score being the mean of its gates; the
    /// first chunk of every site but S6 is kept. The others are taken in the order of their scores (ties: layout order) until the next one
    /// exceeds the budget; from there on each that still fits and whose predecessor in its site was taken. What is left of the budget is
    /// then less than any further chunk costs. A block that is left without groups keeps as little as possible at S1 and S2, which cost
    /// nothing there. Under constraints, excluded sites are kept whole, and blocks with a largest ratio are brought up to what it leaves
    /// first, by their best chunks.
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
        options.NormOrder.EnsureFits(spec, options.Layout);
        var counter = new ParameterCounter(ModelShape.FromSpec(spec), options.NormOrder, options.Layout);
        var layout = scores.Layout;
        if (!layout.Sites.SequenceEqual(new GateLayout(spec).Sites))
        {
            throw new SelectionException($"The scores are laid out for another model: {layout.Count} gates at {layout.Sites.Count} sites.");
        }

        var floors = new BlockFloors(counter, options, budget.Scope);
        long target = EnsureReachable(counter, budget, options, floors);
        var ranked = new RankedGates(scores, options.Layout);
        var widths = options.Layout.HasOneMlpWidth()
            ? new StockFill(counter, ranked, layout, options.WidthMultiple, budget.Scope, target).Fill()
            : new BudgetFill(counter, layout, ranked.SharedSites, floors, options.Layout, budget.Scope, target)
                .Fill(ranked.Chunks(floors.Multiple));
        string? notes = options.Constraints.IsEmpty ? options.Notes
            : options.Notes is null ? options.Constraints.ToString()
            : $"{options.Notes}; {options.Constraints}";
        return new SelectionPlan(counter.Shape, Take(layout, ranked, widths), options.Layout)
        {
            Family = options.Family,
            NormOrder = options.Layout.Order(options.NormOrder),
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
        if (options.Layout.HasOneStream() && !(options.Constraints with { MinAttentionGroups = 0 }).IsEmpty)
        {
            throw new BudgetException("One selection for the whole residual stream cannot leave single sites or blocks alone.");
        }

        long target = budget.TargetFor(counter);
        long smallest = counter.Count(
            [.. floors.Smallest().Select((widths, block) => floors.Complete(block, widths))],
            options.Layout)[budget.Scope];
        if (smallest <= target)
        {
            return target;
        }

        long dense = counter.Dense[budget.Scope];

        // Rounded towards the dense model, so that what the message suggests can be asked for.
        decimal ratio = Math.Floor((1m - (decimal)smallest / dense) * 1_000_000m) / 1_000_000m;
        throw new BudgetException(string.Create(
            CultureInfo.InvariantCulture,
            $"The budget ({budget}) leaves {target} of {dense} parameters, but the smallest selection in layout "
            + $"{options.Layout} has {smallest}: every site that is cut keeps at least one index (width multiple {options.WidthMultiple}; "
            + $"S6 may keep none) and some parameters are never cut"
            + $"{(options.Constraints.IsEmpty ? string.Empty : $" ({options.Constraints})")}. The closest that can be "
            + $"reached is {smallest} parameters: a kept fraction of {1m - ratio}, a pruning ratio of {ratio}."))
        {
            SmallestReachable = smallest,
        };
    }

    private static BlockSelection[] Take(GateLayout layout, RankedGates ranked, SiteMap<int>[] widths)
    {
        IReadOnlyList<int> Kept(int block, SelectionSite site)
        {
            var kept = ranked.ForSite(layout[block, site])[..widths[block][site]].ToArray();
            Array.Sort(kept);
            return kept;
        }

        return [.. Enumerable.Range(0, widths.Length).Select(block => new BlockSelection(SiteMap.Create(site => Kept(block, site))))];
    }
}
