namespace DispLlm.Modeling;

/// <summary>One product of the parameter count of a block: <c>Factor * |Rows| * |Columns|</c>.</summary>
/// <param name="Factor">Parameters per selected row and column.</param>
/// <param name="Rows">
/// The site whose width counts rows; null where no site selects them, and <paramref name="Factor"/> has their number.
/// </param>
/// <param name="Columns">The site whose width counts columns; null as above.</param>
/// <param name="Scope">The narrowest scope that counts them: weights, biases or norms.</param>
internal readonly record struct CountTerm(long Factor, SelectionSite? Rows, SelectionSite? Columns, ParameterScope Scope);

/// <summary>
/// Counts, in exact integers, the parameters that are kept for given widths (docs/method.md, Parameter accounting). Grouped-query attention
/// is counted with its real, smaller key-value size. Immutable and safe from several threads.
/// </summary>
public sealed class ParameterCounter
{
    // What no selection cuts.
    private readonly long _fixed;

    /// <summary>Prepares counting for a model.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <exception cref="SelectionException">A size of the model is not positive, or so large that its count is no long.</exception>
    public ParameterCounter(DecoderSpec spec)
        : this(ModelShape.FromSpec(spec))
    {
    }

    /// <summary>Prepares counting for a model of which only the shape is known, as in a plan.</summary>
    /// <param name="shape">The model's shape.</param>
    /// <exception cref="SelectionException">A size is not positive, or so large that the count is no long.</exception>
    public ParameterCounter(ModelShape shape)
        : this(shape, default, default)
    {
    }

    /// <summary>Prepares counting for an order of norm and selection, and a layout.</summary>
    internal ParameterCounter(ModelShape shape, NormOrder order, PruningLayout layout)
    {
        ArgumentNullException.ThrowIfNull(shape);
        shape.EnsureValid();
        Shape = shape;
        try
        {
            Terms =
            [
                .. shape.Projections().SelectMany(ToTerms).Concat(InputNorms(order, layout)).GroupBy(term => term with { Factor = 0 })
                    .Select(same => same.Key with { Factor = same.Sum(term => term.Factor) }),
            ];
            _fixed = shape.OtherParameters - (InputNorms(order, layout).Sum(term => term.Factor) * shape.HiddenSize * shape.NumLayers);
            var (weights, biases, norms) = CountBlock(shape.DenseWidths);
            Dense = Total(checked(shape.NumLayers * weights), checked(shape.NumLayers * biases), checked(shape.NumLayers * norms));
        }
        catch (OverflowException exception)
        {
            // Every later count is at most the dense one, so that this is the only place where one can overflow.
            throw new SelectionException($"The model is too large to be counted: {shape}.", exception);
        }
    }

    /// <summary>The model that is counted.</summary>
    public ModelShape Shape { get; }

    /// <summary>The count of the dense model.</summary>
    public ParameterCount Dense { get; }

    /// <summary>The count of one block's projections as a sum: the coefficients for whoever needs it differentiable.</summary>
    internal IReadOnlyList<CountTerm> Terms { get; }

    /// <summary>The count of a model pruned to the given widths.</summary>
    /// <param name="widths">The widths of every block, each from 0 to the size of its site.</param>
    /// <exception cref="SelectionException">Wrong number of blocks, or a width out of range.</exception>
    public ParameterCount Count(IReadOnlyList<SiteMap<int>> widths) => Count(widths, PruningLayout.All);

    /// <summary>The count of a model pruned to the given widths in a layout.</summary>
    /// <param name="widths">The widths of every block, each from 0 to the size of its site.</param>
    /// <param name="layout">The layout: with one stream, embedding, head and norms are cut with it.</param>
    /// <exception cref="SelectionException">Wrong number of blocks, or a width out of range.</exception>
    public ParameterCount Count(IReadOnlyList<SiteMap<int>> widths, PruningLayout layout)
    {
        ArgumentNullException.ThrowIfNull(widths);
        if (widths.Count != Shape.NumLayers)
        {
            throw new SelectionException($"Widths are given for {widths.Count} blocks; the model has {Shape.NumLayers}.");
        }

        long weights = 0, biases = 0, norms = 0;
        for (int block = 0; block < widths.Count; block++)
        {
            EnsureInRange(block, widths[block]);
            var count = CountBlock(widths[block]);
            weights += count.Weights;
            biases += count.Biases;
            norms += count.Norms;
        }

        var total = Total(weights, biases, norms);
        long removed = Shape.HiddenSize - widths[0][SelectionSite.AttentionInput];
        return total with { WholeModel = total.WholeModel - (removed * StreamCost(layout, ParameterScope.WholeModel)) };
    }

    /// <summary>What a feature of one stream costs outside of the blocks' projections.</summary>
    internal long StreamCost(PruningLayout layout, ParameterScope scope) =>
        layout.HasOneStream() && scope == ParameterScope.WholeModel ? Shape.StreamParameters : 0;

    /// <summary>The count of a model pruned as planned.</summary>
    /// <param name="plan">The plan, made for this model.</param>
    /// <exception cref="SelectionException">The plan was made for another model.</exception>
    public ParameterCount Count(SelectionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        plan.EnsureMadeFor(Shape);
        return plan.KeptParameters;
    }

    /// <summary>Parameters that one more index at a site costs, given the other sites' widths: the count's partial derivative.</summary>
    /// <param name="site">The site.</param>
    /// <param name="widths">The block's widths; the site's own does not matter.</param>
    /// <param name="scope">Whether biases count.</param>
    internal long CostPerIndex(SelectionSite site, SiteMap<int> widths, ParameterScope scope)
    {
        long cost = 0;
        foreach (var term in Terms)
        {
            if ((term.Rows == site || term.Columns == site) && term.Scope <= scope)
            {
                var other = term.Rows == site ? term.Columns : term.Rows;
                cost = checked(cost + term.Factor * Width(widths, other));
            }
        }

        return cost;
    }

    private IEnumerable<CountTerm> ToTerms(BlockProjection projection)
    {
        var axes = PrunedAxes.For(projection.Role, Shape.QueryKeyNorm);
        long rows = axes.OutputSite is { } output ? Shape.FeaturesPerIndex(output, projection.Role) : projection.Rows;
        long columns = axes.InputSite is { } input ? Shape.FeaturesPerIndex(input, projection.Role) : projection.Columns;
        var scope = projection.Role.IsNorm() ? ParameterScope.WholeModel : ParameterScope.BlockWeights;
        yield return new CountTerm(checked(rows * columns), axes.OutputSite, axes.InputSite, scope);
        if (projection.HasBias)
        {
            yield return new CountTerm(rows, axes.OutputSite, null, ParameterScope.BlockWeightsAndBiases);
        }
    }

    /// <summary>The norms that are cut with what their sublayers select.</summary>
    private IEnumerable<CountTerm> InputNorms(NormOrder order, PruningLayout layout) =>
        order != NormOrder.SelectThenNorm || layout.HasOneStream() || Shape.InputNormParameters == 0 ? []
        : new[] { SelectionSite.AttentionInput, SelectionSite.MlpInput }.Select(site =>
            new CountTerm(Shape.InputNormParameters, site, null, ParameterScope.WholeModel));

    private static long Width(SiteMap<int> widths, SelectionSite? site) => site is { } selected ? widths[selected] : 1;

    private (long Weights, long Biases, long Norms) CountBlock(SiteMap<int> widths)
    {
        long weights = 0, biases = 0, norms = 0;
        foreach (var term in Terms)
        {
            long count = checked(term.Factor * Width(widths, term.Rows) * Width(widths, term.Columns));
            switch (term.Scope)
            {
                case ParameterScope.BlockWeights:
                    weights = checked(weights + count);
                    break;
                case ParameterScope.BlockWeightsAndBiases:
                    biases = checked(biases + count);
                    break;
                default:
                    norms = checked(norms + count);
                    break;
            }
        }

        return (weights, biases, norms);
    }

    private ParameterCount Total(long weights, long biases, long norms) =>
        checked(new(weights, weights + biases, weights + biases + norms + _fixed));

    private void EnsureInRange(int block, SiteMap<int> widths)
    {
        foreach (var site in SelectionSites.All)
        {
            int width = widths[site], size = Shape.SiteSize(site);
            if (width < 0 || width > size)
            {
                throw new SelectionException($"block {block} {site.Label()}: width {width} is not within 0 to {size}.");
            }
        }
    }
}
