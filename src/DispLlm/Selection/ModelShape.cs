namespace DispLlm.Modeling;

/// <summary>
/// What a selection must know about its model: the sizes of the sites and everything the parameter count depends on. A plan carries it, so
/// that a plan file can be counted without the model and is never applied to a different one. Immutable and safe from several threads.
/// </summary>
public sealed record ModelShape
{
    /// <summary>Number of decoder blocks <c>L</c>.</summary>
    public required int NumLayers { get; init; }

    /// <summary>Features <c>d</c> of the residual stream: the size of S1, S2, S3 and S5.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Hidden features <c>d_ff</c> of the MLP: the size of S4.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int NumAttentionHeads { get; init; }

    /// <summary>Number of key-value heads.</summary>
    public required int NumKeyValueHeads { get; init; }

    /// <summary>Features of one head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Whether the MLP has a gate projection beside the up projection.</summary>
    public required bool GatedMlp { get; init; }

    /// <summary>Whether query, key and value projections have biases.</summary>
    public required bool QueryKeyValueBias { get; init; }

    /// <summary>Whether the attention output projection has a bias.</summary>
    public required bool AttentionOutputBias { get; init; }

    /// <summary>Whether the MLP's projections have biases.</summary>
    public required bool MlpBias { get; init; }

    /// <summary>Whether norms stand on what the sublayers write: S2 and S5 cut them. Default: no.</summary>
    public bool OutputNorms { get; init; }

    /// <summary>Norms of queries and keys: S6 cuts those whose weights are not shared by heads. Default: none.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>Whether norms of queries and keys have biases. Default: no.</summary>
    public bool QueryKeyNormBias { get; init; }

    /// <summary>
    /// How many of <see cref="OtherParameters"/> there are for each feature of the residual stream: what one selection of the stream for
    /// the whole model removes with a feature. Default: 0, not known.
    /// </summary>
    public long StreamParameters { get; init; }

    /// <summary>
    /// Parameters that a norm before a sublayer has for each feature, where each sublayer has a norm of its own: removed with a feature of
    /// S1 or S3 under <see cref="NormOrder.SelectThenNorm"/>. Default: 0, none, or not known.
    /// </summary>
    public int InputNormParameters { get; init; }

    /// <summary>
    /// Parameters that no site ever cuts and that are not part of a block's projections: embeddings, norms, an untied head. One number
    /// instead of a list of parts, so that a family with other parts needs no new key in plan files.
    /// </summary>
    public required long OtherParameters { get; init; }

    /// <summary>The shape of a model.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <exception cref="SelectionException">A size is not positive, or so large that the count is no long.</exception>
    public static ModelShape FromSpec(DecoderSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        EnsurePositive(spec.NumLayers, nameof(NumLayers));

        // 128 bits, so that sizes from a damaged config cannot wrap around to a plausible number. Norms keep their full size: the default
        // order norms all features before it selects (docs/method.md, Order of norm and selection).
        Int128 other = 0, stream = 0;
        foreach (var part in ParameterCatalog.Parameters(spec with { NumLayers = 1 })
            .Where(part => PrunedAxes.For(part.Role, spec.QueryKeyNorm) == default))
        {
            Int128 count = part.Shape.Aggregate(part.Block < 0 ? Int128.One : spec.NumLayers, (product, size) => product * size);
            other += count;
            stream += KeptFeatures.StreamAxis(part, spec.HiddenSize) is null ? 0 : count / spec.HiddenSize;
        }

        if (other > long.MaxValue)
        {
            throw new SelectionException($"The model is too large to be counted: {other} parameters in embeddings and norms.");
        }

        var shape = new ModelShape
        {
            NumLayers = spec.NumLayers,
            HiddenSize = spec.HiddenSize,
            IntermediateSize = spec.IntermediateSize,
            NumAttentionHeads = spec.NumAttentionHeads,
            NumKeyValueHeads = spec.NumKeyValueHeads,
            HeadDim = spec.HeadDim,
            GatedMlp = spec.GatedMlp,
            QueryKeyValueBias = spec.QueryKeyValueBias,
            AttentionOutputBias = spec.AttentionOutputBias,
            MlpBias = spec.MlpBias,
            OutputNorms = spec.HasOutputNorms,
            QueryKeyNorm = spec.QueryKeyNorm,
            QueryKeyNormBias = spec.QueryKeyNormBias,
            StreamParameters = (long)stream,
            InputNormParameters = spec.HasInputNorms
                ? ParameterCatalog.BlockParameters(spec, 0).Count(part => part.Role == WeightRole.MlpNorm) : 0,
            OtherParameters = (long)other,
        };
        shape.EnsureValid();
        return shape;
    }

    /// <summary>Number of gates of one block at a site.</summary>
    /// <param name="site">The site.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public int SiteSize(SelectionSite site) => site.Descriptor().Size(this);

    /// <summary>Query heads of each key-value head.</summary>
    internal int QueryHeadsPerGroup => NumAttentionHeads / NumKeyValueHeads;

    /// <summary>
    /// How many rows of a weight, or of its columns, one index of a site selects: those of a head or of a group's heads at S6, else one.
    /// </summary>
    internal int FeaturesPerIndex(SelectionSite site, WeightRole role) => site != SelectionSite.AttentionGroups ? 1
        : role is WeightRole.Key or WeightRole.KeyNorm or WeightRole.Value ? HeadDim
        : QueryHeadsPerGroup * HeadDim;

    /// <summary>The widths of a dense block.</summary>
    internal SiteMap<int> DenseWidths => SiteMap.Create(SiteSize);

    /// <summary>The projections of one block, and the norms that sites cut, at full size.</summary>
    internal IEnumerable<BlockProjection> Projections()
    {
        long query = (long)NumAttentionHeads * HeadDim, keyValue = (long)NumKeyValueHeads * HeadDim;
        yield return new(WeightRole.Query, query, HiddenSize, QueryKeyValueBias);
        yield return new(WeightRole.Key, keyValue, HiddenSize, QueryKeyValueBias);
        yield return new(WeightRole.Value, keyValue, HiddenSize, QueryKeyValueBias);
        yield return new(WeightRole.AttentionOutput, HiddenSize, query, AttentionOutputBias);
        if (GatedMlp)
        {
            yield return new(WeightRole.MlpGate, IntermediateSize, HiddenSize, MlpBias);
        }

        yield return new(WeightRole.MlpUp, IntermediateSize, HiddenSize, MlpBias);
        yield return new(WeightRole.MlpDown, HiddenSize, IntermediateSize, MlpBias);
        if (OutputNorms)
        {
            yield return new(WeightRole.AttentionOutputNorm, HiddenSize, 1, HasBias: false);
            yield return new(WeightRole.MlpOutputNorm, HiddenSize, 1, HasBias: false);
        }

        if (PrunedAxes.For(WeightRole.QueryNorm, QueryKeyNorm) != default)
        {
            yield return new(WeightRole.QueryNorm, query, 1, QueryKeyNormBias);
            yield return new(WeightRole.KeyNorm, keyValue, 1, QueryKeyNormBias);
        }
    }

    internal void EnsureValid()
    {
        EnsurePositive(NumLayers, nameof(NumLayers));
        EnsurePositive(HiddenSize, nameof(HiddenSize));
        EnsurePositive(IntermediateSize, nameof(IntermediateSize));
        EnsurePositive(NumAttentionHeads, nameof(NumAttentionHeads));
        EnsurePositive(NumKeyValueHeads, nameof(NumKeyValueHeads));
        EnsurePositive(HeadDim, nameof(HeadDim));
        foreach (var (count, name) in new[]
        {
            (OtherParameters, nameof(OtherParameters)), (StreamParameters, nameof(StreamParameters)),
        })
        {
            if (count < 0)
            {
                throw new SelectionException($"A model shape's {name} is {count}; it cannot be negative.");
            }
        }

        if (NumAttentionHeads % NumKeyValueHeads != 0)
        {
            throw new SelectionException(
                $"A model shape's {nameof(NumAttentionHeads)} is {NumAttentionHeads}; it must be a multiple of {nameof(NumKeyValueHeads)} "
                    + $"({NumKeyValueHeads}).");
        }

        // All gates of a model are one vector.
        Int128 gates = SelectionSites.All.Aggregate(Int128.Zero, (sum, site) => sum + SiteSize(site)) * NumLayers;
        if (gates > Array.MaxLength)
        {
            throw new SelectionException($"The model is too large to be counted: {NumLayers} blocks have {gates} gates.");
        }

        if (InputNormParameters < 0 || (Int128)InputNormParameters * 2 * HiddenSize * NumLayers > OtherParameters)
        {
            throw new SelectionException(
                $"A model shape's {nameof(InputNormParameters)} is {InputNormParameters}; there are only {OtherParameters} "
                    + $"{nameof(OtherParameters)}.");
        }

        if ((Int128)StreamParameters * HiddenSize > OtherParameters)
        {
            throw new SelectionException(
                $"A model shape's {nameof(StreamParameters)} is {StreamParameters} for each of {HiddenSize} features; there are only "
                    + $"{OtherParameters} {nameof(OtherParameters)}.");
        }
    }

    /// <summary>
    /// The shape as plans of before format 3 have it: norms of queries and keys are among the other parameters, of which none is known to
    /// be the stream's.
    /// </summary>
    private ModelShape WithoutGroups()
    {
        long norms = Projections().Where(part => part.Role is WeightRole.QueryNorm or WeightRole.KeyNorm)
            .Sum(part => part.Rows * (part.HasBias ? 2 : 1));
        return this with
        {
            QueryKeyNorm = QueryKeyNorm.None,
            QueryKeyNormBias = false,
            StreamParameters = 0,
            InputNormParameters = 0,
            OtherParameters = OtherParameters + (NumLayers * norms),
        };
    }

    /// <summary>
    /// The first property in which two shapes differ, in words; null if they are the same, as far as an older plan says it.
    /// </summary>
    internal string? FirstDifference(ModelShape other) =>
        StreamParameters == 0 && other.StreamParameters != 0 ? DifferenceTo(other.WithoutGroups())
        : other.StreamParameters == 0 && StreamParameters != 0 ? WithoutGroups().DifferenceTo(other)
        : InputNormParameters == 0 ? DifferenceTo(other with { InputNormParameters = 0 })
        : (other.InputNormParameters == 0 ? this with { InputNormParameters = 0 } : this).DifferenceTo(other);

    private string? DifferenceTo(ModelShape other) => typeof(ModelShape).GetProperties()
        .Where(property => property.CanWrite && !Equals(property.GetValue(this), property.GetValue(other)))
        .Select(property => $"{property.Name} is {property.GetValue(this)} here and {property.GetValue(other)} there")
        .FirstOrDefault();

    private static void EnsurePositive(int value, string name)
    {
        if (value < 1)
        {
            throw new SelectionException($"A model shape's {name} is {value}; it must be at least 1.");
        }
    }
}

/// <summary>One projection of a block, at full size.</summary>
/// <param name="Role">What it does.</param>
/// <param name="Rows">Output features.</param>
/// <param name="Columns">Input features.</param>
/// <param name="HasBias">Whether it has a bias.</param>
internal readonly record struct BlockProjection(WeightRole Role, long Rows, long Columns, bool HasBias);
