using System.Globalization;

namespace DispLlm;

/// <summary>
/// What of a model is kept: for every block and selection site a list of indices (docs/method.md, Selection sites). Every list is sorted,
/// unique, in range and, but at S6, not empty from the moment the plan exists. A plan knows its model's shape, so that it can be counted
/// without the model and is refused by any other, and is saved as text that people read, compare and edit. Immutable and safe from several
/// threads.
/// </summary>
public sealed record SelectionPlan
{
    /// <summary>
    /// The version of the plan file that this program writes. It reads older ones too, which have neither layouts nor S6.
    /// </summary>
    public const int CurrentFormatVersion = 3;

    /// <summary>The name of the plan's file in the folder of a pruned model.</summary>
    public const string FileName = "selection-plan.json";

    private readonly NormOrder _normOrder;
    private readonly PlanProvenance _provenance = PlanProvenance.Unknown;
    private readonly FeatureScales? _scales;

    /// <summary>Makes a plan from what each block keeps. The lists are copied.</summary>
    /// <param name="model">The shape of the model that is selected from.</param>
    /// <param name="blocks">What each block keeps, in block order.</param>
    /// <param name="layout">
    /// Which sites may select, and which select alike. Default: all sites, each by itself. With one stream the plan's order is
    /// <see cref="NormOrder.SelectThenNorm"/>.
    /// </param>
    /// <exception cref="SelectionException">
    /// Wrong number of blocks; a list that is not sorted, unique, in range and, but at S6, not empty; or one that the layout does not
    /// allow.
    /// </exception>
    public SelectionPlan(ModelShape model, IReadOnlyList<BlockSelection> blocks, PruningLayout layout = PruningLayout.All)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(blocks);
        model.EnsureValid();
        if (blocks.Count != model.NumLayers)
        {
            throw new SelectionException($"The plan has {blocks.Count} blocks; the model has {model.NumLayers}.");
        }

        Model = model;
        Blocks = Array.AsReadOnly(blocks.Select((block, index) => SelectionRules.ValidCopy(model, index, block)).ToArray());
        Layout = layout.Checked();
        _normOrder = layout.Order(NormOrder.NormThenSelect);
        SelectionRules.CheckLayout(this);
        DenseParameters = new ParameterCounter(model).Dense;
        KeptParameters = CountKept();
    }

    /// <summary>The version of the plan file that this plan is saved as.</summary>
    public int FormatVersion { get; } = CurrentFormatVersion;

    /// <summary>The name of the model's family, as in <c>llama</c>; null if it was not recorded.</summary>
    public string? Family { get; init; }

    /// <summary>The shape of the model that is selected from.</summary>
    public ModelShape Model { get; }

    /// <summary>Which sites may select, and which select alike.</summary>
    public PruningLayout Layout { get; }

    /// <summary>
    /// Whether S1 and S3 select before or after the norm. Default: <see cref="NormOrder.NormThenSelect"/>; with one stream, norms only ever
    /// see what is kept.
    /// </summary>
    /// <exception cref="SelectionException">No such order, or one that the layout does not leave.</exception>
    public NormOrder NormOrder
    {
        get => _normOrder;
        init
        {
            _normOrder = Enum.IsDefined(value) ? value : throw new SelectionException($"There is no norm order {(int)value}.");
            if (Layout.Order(value) != value)
            {
                throw new SelectionException($"A plan of layout {Layout} has the order {Layout.Order(value)}, not {value}.");
            }

            KeptParameters = CountKept();
        }
    }

    /// <summary>What is kept of the residual stream of the whole model; null where blocks select by themselves, or all is kept.</summary>
    internal IReadOnlyList<int>? Stream =>
        Layout.HasOneStream() && Blocks[0].AttentionInput is var kept && kept.Count < Model.HiddenSize ? kept : null;

    /// <summary>Where the plan came from.</summary>
    public PlanProvenance Provenance
    {
        get => _provenance;
        init => _provenance = value ?? throw new ArgumentNullException(nameof(Provenance));
    }

    /// <summary>What each block keeps, in block order.</summary>
    public IReadOnlyList<BlockSelection> Blocks { get; }

    /// <summary>
    /// What kept features are multiplied by; null for 1. Cutting multiplies the weights that read them (S1, S3, S4, S6) or write them (S2,
    /// S5).
    /// </summary>
    /// <exception cref="SelectionException">They are for a model with other gates.</exception>
    public FeatureScales? Scales
    {
        get => _scales;
        init
        {
            int gates = new GateLayout(Model).Count;
            _scales = value is null || value.Layout.Count == gates
                ? value
                : throw new SelectionException($"There are {value.Layout.Count} scales for a model of {gates} gates.");
        }
    }

    /// <summary>Parameters of the dense model, computed from <see cref="Model"/>.</summary>
    public ParameterCount DenseParameters { get; }

    /// <summary>Parameters that are kept, computed from the lists.</summary>
    public ParameterCount KeptParameters { get; private init; }

    /// <summary>The fraction of the block weights that is kept, from 0 to 1.</summary>
    public double KeptFraction() => KeptFraction(ParameterScope.BlockWeights);

    /// <summary>The fraction of a scope's parameters that is kept, from 0 to 1.</summary>
    /// <param name="scope">The scope.</param>
    public double KeptFraction(ParameterScope scope) =>
        (double)KeptParameters[scope] / DenseParameters[scope];

    /// <summary>
    /// How much of the dense model's key-value cache the pruned model fills with the same tokens, from 0 to 1: the fraction of all
    /// key-value heads that is kept.
    /// </summary>
    public double KeptCacheFraction() =>
        (double)Blocks.Sum(block => block.AttentionGroups.Count) / ((double)Model.NumLayers * Model.NumKeyValueHeads);

    /// <summary>The plan that keeps everything.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="layout">Its layout. Default: all sites, each by itself.</param>
    /// <exception cref="SelectionException">A size of the model is not positive.</exception>
    public static SelectionPlan Dense(DecoderSpec spec, PruningLayout layout = PruningLayout.All)
    {
        var model = ModelShape.FromSpec(spec);
        var block = new BlockSelection(SiteMap.Create<IReadOnlyList<int>>(site => [.. Enumerable.Range(0, model.SiteSize(site))]));
        return new SelectionPlan(model, Enumerable.Repeat(block, model.NumLayers).ToArray(), layout);
    }

    /// <summary>Reads a plan file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="SelectionException">The file is no valid plan; the message names the file, the key and the value.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SelectionPlan Load(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return SelectionPlanJson.Read(File.ReadAllBytes(path), path);
    }

    /// <summary>Reads a plan from its JSON text.</summary>
    /// <param name="json">The text, as <see cref="ToJson"/> writes it.</param>
    /// <exception cref="SelectionException">The text is no valid plan; the message names the key and the value.</exception>
    public static SelectionPlan FromJson(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        return SelectionPlanJson.Read(json, "selection plan");
    }

    /// <summary>The plan as JSON text, one site's list per line; the same plan always gives the same text.</summary>
    public string ToJson() => SelectionPlanWriter.Write(this);

    /// <summary>Saves the plan. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, ToJson());
    }

    /// <summary>Checks that the plan was made for a model; its lists were checked when it was made.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <exception cref="SelectionException">
    /// The plan was made for another model, and the message names the first difference; or it has scales before a norm, which no weight can
    /// absorb.
    /// </exception>
    public void Validate(DecoderSpec spec)
    {
        EnsureMadeFor(ModelShape.FromSpec(spec));
        NormOrder.EnsureFits(spec, Layout);
        foreach (var site in Scales?.Layout.Sites.Where(site => !NormOrder.TakesScales(Model, Layout, site.Site)) ?? [])
        {
            if (Scales!.ForSite(site.Block, site.Site).ContainsAnyExcept(1f))
            {
                throw new SelectionException(
                    $"{site}: in this model, order and layout no weight can absorb the scales of this site: a norm follows it, or its "
                        + "gates do not act; they must be 1.");
            }
        }
    }

    /// <summary>The same plan with one list replaced.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="site">The site.</param>
    /// <param name="indices">The indices that this site keeps instead: sorted, unique, in range and, but at S6, not empty.</param>
    /// <exception cref="SelectionException">No such block, a bad list, or one that the layout does not allow.</exception>
    public SelectionPlan With(int block, SelectionSite site, IReadOnlyList<int> indices)
    {
        if (block < 0 || block >= Blocks.Count)
        {
            throw new SelectionException($"There is no block {block}; the model has {Blocks.Count}, counted from 0.");
        }

        var blocks = Blocks.ToArray();
        blocks[block] = blocks[block].With(site, indices);
        return new SelectionPlan(Model, blocks, Layout)
        {
            Family = Family,
            NormOrder = NormOrder,
            Provenance = Provenance,
            Scales = Scales,
        };
    }

    /// <summary>The widths of every block, in block order.</summary>
    public IReadOnlyList<SiteMap<int>> Widths() => [.. Blocks.Select(block => block.Widths())];

    private ParameterCount CountKept() => new ParameterCounter(Model, NormOrder, Layout).Count(Widths(), Layout);

    /// <summary>What another plan keeps more and less than this one.</summary>
    /// <param name="other">The other plan, for the same model.</param>
    /// <exception cref="SelectionException">The other plan was made for a model of another shape.</exception>
    public SelectionPlanDiff Diff(SelectionPlan other) => new(this, other);

    /// <summary>Whether both select the same from the same model, and came from the same place.</summary>
    /// <param name="other">The other plan.</param>
    public bool Equals(SelectionPlan? other) =>
        other is not null && Family == other.Family && Layout == other.Layout && NormOrder == other.NormOrder && Model == other.Model
        && Provenance == other.Provenance && Blocks.SequenceEqual(other.Blocks) && Equals(Scales, other.Scales);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Family, NormOrder, Model, Provenance, KeptParameters, Blocks[0]);

    /// <inheritdoc/>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Family ?? "model"}, {Model.NumLayers} blocks: {KeptParameters.BlockWeights:N0} of {DenseParameters.BlockWeights:N0} block "
        + $"weights kept ({KeptFraction():P2}), {KeptParameters.WholeModel:N0} of {DenseParameters.WholeModel:N0} parameters "
        + $"({KeptFraction(ParameterScope.WholeModel):P2})");

    internal void EnsureMadeFor(ModelShape model)
    {
        // Plans of older files do not say what is cut with the stream and with groups.
        bool isSilent = Model.StreamParameters == 0 && (Layout.HasOneStream()
            || (model.QueryKeyNorm != Model.QueryKeyNorm && Blocks.Any(block => block.AttentionGroups.Count < model.NumKeyValueHeads)));
        if ((isSilent ? "it is of an older version" : Model.FirstDifference(model)) is { } difference)
        {
            throw new SelectionException($"The plan was made for another model: {difference} (here: the plan, there: the model).");
        }
    }
}
