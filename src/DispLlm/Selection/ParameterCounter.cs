namespace DispLlm.Modeling;

/// <summary>
/// Counts, in exact integers, the parameters that stay for given widths (method, section 2), and gives the coefficients of
/// that count to whoever needs it differentiable. Grouped-query attention is counted with its real, smaller key-value size.
/// </summary>
public sealed class ParameterCounter
{
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
    {
        ArgumentNullException.ThrowIfNull(shape);
        shape.EnsureValid();
        Shape = shape;
        try
        {
            WeightsPerAttentionInput = checked(shape.QuerySize + 2 * shape.KeyValueSize);
            WeightsPerAttentionOutput = shape.QuerySize;
            MlpInputProjections = shape.GatedMlp ? 2 : 1;
            FixedBiasesPerBlock = shape.QueryKeyValueBias ? WeightsPerAttentionInput : 0;
            BiasesPerAttentionOutput = shape.AttentionOutputBias ? 1 : 0;
            BiasesPerMlpHidden = shape.MlpBias ? MlpInputProjections : 0;
            BiasesPerMlpOutput = shape.MlpBias ? 1 : 0;
            var (weights, biases) = OfBlock(shape.DenseWidths);
            Dense = Total(checked(shape.NumLayers * weights), checked(shape.NumLayers * biases));
        }
        catch (OverflowException exception)
        {
            // Every later count is at most the dense one, so that this is the only place where one can overflow.
            throw new SelectionException($"The model is too large to be counted: {shape}.", exception);
        }
    }

    /// <summary>The model that is counted.</summary>
    public ModelShape Shape { get; }

    /// <summary>The count of the model of which nothing is cut.</summary>
    public ParameterCount Dense { get; }

    /// <summary>Weights that one index of S1 costs: <c>q + 2 * kv</c>.</summary>
    public long WeightsPerAttentionInput { get; }

    /// <summary>Weights that one index of S2 costs: <c>q</c>.</summary>
    public long WeightsPerAttentionOutput { get; }

    /// <summary>
    /// How many projections read the MLP's input: 2 (gate and up) or 1 (up). The block's MLP has
    /// <c>MlpInputProjections * |S3| * |S4| + |S4| * |S5|</c> weights.
    /// </summary>
    public long MlpInputProjections { get; }

    /// <summary>Biases of a block that stay whatever is selected: <c>q + 2 * kv</c> with query, key and value biases, else 0.</summary>
    public long FixedBiasesPerBlock { get; }

    /// <summary>Biases that one index of S2 costs: 1 or 0.</summary>
    public long BiasesPerAttentionOutput { get; }

    /// <summary>Biases that one index of S4 costs: 2 (gate and up), 1 or 0.</summary>
    public long BiasesPerMlpHidden { get; }

    /// <summary>Biases that one index of S5 costs: 1 or 0.</summary>
    public long BiasesPerMlpOutput { get; }

    /// <summary>
    /// Parameters of the whole model that count in a scope whatever is selected: the constant term of the count. The rest is the sum over
    /// blocks of <c>(q + 2 kv) |S1| + q |S2| + g |S3| |S4| + |S4| |S5|</c> and, where biases count, of
    /// <c>b2 |S2| + b4 |S4| + b5 |S5|</c>.
    /// </summary>
    /// <param name="scope">The scope.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such scope.</exception>
    public long FixedParameters(ParameterScope scope) => checked(scope switch
    {
        ParameterScope.BlockWeights => 0,
        ParameterScope.BlockWeightsAndBiases => Shape.NumLayers * FixedBiasesPerBlock,
        ParameterScope.WholeModel => Shape.NumLayers * FixedBiasesPerBlock + Shape.OtherParameters,
        _ => throw new ArgumentOutOfRangeException(nameof(scope), scope, "There are three scopes."),
    });

    /// <summary>Parameters that one more index at a site costs, given the other sites' widths: the count's partial derivative.</summary>
    /// <param name="site">The site.</param>
    /// <param name="widths">The block's widths; the site's own does not matter.</param>
    /// <param name="scope">Whether biases count.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public long CostPerIndex(SelectionSite site, in BlockWidths widths, ParameterScope scope)
    {
        long b = scope == ParameterScope.BlockWeights ? 0 : 1;
        return checked(site switch
        {
            SelectionSite.AttentionInput => WeightsPerAttentionInput,
            SelectionSite.AttentionOutput => WeightsPerAttentionOutput + b * BiasesPerAttentionOutput,
            SelectionSite.MlpInput => MlpInputProjections * widths.MlpHidden,
            SelectionSite.MlpHidden => MlpInputProjections * widths.MlpInput + widths.MlpOutput + b * BiasesPerMlpHidden,
            SelectionSite.MlpOutput => widths.MlpHidden + b * BiasesPerMlpOutput,
            _ => throw new ArgumentOutOfRangeException(nameof(site), site, "There are five sites, S1 to S5."),
        });
    }

    /// <summary>The count of a model cut to the given widths.</summary>
    /// <param name="widths">The widths of every block, each from 0 to the size of its site.</param>
    /// <exception cref="SelectionException">Wrong number of blocks, or a width out of range.</exception>
    public ParameterCount Count(IReadOnlyList<BlockWidths> widths)
    {
        ArgumentNullException.ThrowIfNull(widths);
        if (widths.Count != Shape.NumLayers)
        {
            throw new SelectionException($"Widths are given for {widths.Count} blocks; the model has {Shape.NumLayers}.");
        }

        long weights = 0, biases = 0;
        for (int block = 0; block < widths.Count; block++)
        {
            var w = widths[block];
            EnsureInRange(block, w);
            var of = OfBlock(w);
            weights += of.Weights;
            biases += of.Biases;
        }

        return Total(weights, biases);
    }

    /// <summary>The count of a model cut as planned.</summary>
    /// <param name="plan">The plan, made for this model.</param>
    /// <exception cref="SelectionException">The plan was made for another model.</exception>
    public ParameterCount Count(SelectionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        plan.EnsureMadeFor(Shape);
        return plan.KeptParameters;
    }

    private (long Weights, long Biases) OfBlock(in BlockWidths w) => checked((
        WeightsPerAttentionInput * w.AttentionInput + WeightsPerAttentionOutput * w.AttentionOutput
            + MlpInputProjections * w.MlpInput * w.MlpHidden + (long)w.MlpHidden * w.MlpOutput,
        FixedBiasesPerBlock + BiasesPerAttentionOutput * w.AttentionOutput
            + BiasesPerMlpHidden * w.MlpHidden + BiasesPerMlpOutput * w.MlpOutput));

    private ParameterCount Total(long weights, long biases) =>
        checked(new(weights, weights + biases, weights + biases + Shape.OtherParameters));

    private void EnsureInRange(int block, in BlockWidths widths)
    {
        foreach (var site in Sites)
        {
            int width = widths[site], size = Shape.SiteSize(site);
            if (width < 0 || width > size)
            {
                throw new SelectionException($"block {block} S{(int)site} ({site}): width {width} is not within 0 to {size}.");
            }
        }
    }

    internal static readonly SelectionSite[] Sites = Enum.GetValues<SelectionSite>();
}
