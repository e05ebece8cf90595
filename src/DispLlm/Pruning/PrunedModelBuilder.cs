namespace DispLlm;

/// <summary>
/// Prunes a checkpoint folder by a plan: dense folder and plan in, pruned folder out, tensor by tensor, in the source's shards.
/// <see cref="PrunableModel.Load"/> reads the result, and so does Hugging Face transformers: with <c>trust_remote_code=True</c>, or as an
/// ordinary model where only sizes differ. Immutable, so it can be used from many threads.
/// </summary>
public sealed class PrunedModelBuilder
{
    private readonly string _source;
    private readonly IModelFamily? _family;
    private readonly SelectionPlan _plan;
    private readonly WeightReconstruction? _reconstruction;

    /// <summary>Creates a builder.</summary>
    /// <param name="denseFolder">The checkpoint folder to prune. It is only read.</param>
    /// <param name="plan">What to keep.</param>
    public PrunedModelBuilder(string denseFolder, SelectionPlan plan)
        : this(denseFolder, null, plan, null)
    {
    }

    /// <summary>Creates a builder for a family of the caller's own.</summary>
    /// <param name="denseFolder">The checkpoint folder to prune. It is only read.</param>
    /// <param name="family">The family that names its tensors; null for one that comes with the library.</param>
    /// <param name="plan">What to keep.</param>
    public PrunedModelBuilder(string denseFolder, IModelFamily? family, SelectionPlan plan)
        : this(denseFolder, family, plan, null)
    {
    }

    /// <summary>Creates a builder that writes reconstructed weights.</summary>
    /// <param name="denseFolder">The checkpoint folder to prune. It is only read.</param>
    /// <param name="family">The family that names its tensors; null for one that comes with the library.</param>
    /// <param name="plan">What to keep.</param>
    /// <param name="reconstruction">Weights to write instead of the checkpoint's; null for none. The caller disposes it.</param>
    /// <exception cref="ArgumentException">The reconstruction is for another plan.</exception>
    public PrunedModelBuilder(string denseFolder, IModelFamily? family, SelectionPlan plan, WeightReconstruction? reconstruction)
    {
        ArgumentException.ThrowIfNullOrEmpty(denseFolder);
        ArgumentNullException.ThrowIfNull(plan);
        reconstruction?.EnsureFor(plan);
        _reconstruction = reconstruction;
        _source = denseFolder;
        _family = family;
        _plan = plan;
    }

    /// <summary>
    /// Prunes. Everything is written into a folder beside the target, which takes the target's name when it is complete: a kill at any
    /// moment leaves no target or the whole one, and what it leaves beside it is removed by the next run with this target.
    /// </summary>
    /// <param name="targetFolder">The folder to create; it may not exist yet, or be empty. A link is followed.</param>
    /// <param name="progress">Where every written tensor is reported to.</param>
    /// <param name="cancellationToken">Looked at between pieces; no folder is left.</param>
    /// <exception cref="DispLlmException">The target holds files, or the source is no dense checkpoint.</exception>
    /// <exception cref="SelectionException">
    /// The plan was made for a model of another shape, or of another family than the one it names.
    /// </exception>
    public async Task BuildAsync(string targetFolder, IProgress<PruningProgress>? progress = null,
        CancellationToken cancellationToken = default) =>
        await Task.Run(() => Build(targetFolder, progress, cancellationToken), cancellationToken).ConfigureAwait(false);

    internal void Build(string targetFolder, IProgress<PruningProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(targetFolder);
        string target = AtomicFolder.EnsureNew(targetFolder);
        using var source = CheckpointFolder.Open(_source);
        if (source.Config.Has(PrunedFormat.Section))
        {
            throw new ModelAlreadyPrunedException(_source);
        }

        var family = _family ?? ModelFamilies.BuiltIn.Resolve(source.Config);
        var spec = DecoderSpec.Read(source, source.Config, family);
        EnsureFits(_plan, spec, family, _source);
        var tensors = ParameterCatalog.CheckpointTensors(spec, family, source).ToList();
        DecoderWeights.CheckNames(source, tensors, family, isPruned: false);
        using var folder = new AtomicFolder(target);
        string partial = folder.Partial;
        new PrunedWeights(source, tensors, _plan, _reconstruction).Write(partial, progress, cancellationToken);
        new PrunedConfig(source.Config, spec, family, _plan).WriteFiles(partial, source);
        folder.Complete();
    }

    /// <summary>Refuses a plan that was made for a model of another shape or family.</summary>
    internal static void EnsureFits(SelectionPlan plan, DecoderSpec spec, IModelFamily family, string source)
    {
        plan.Validate(spec);
        if (plan.Family is { } planned && planned != family.Name)
        {
            throw new SelectionException($"The plan is for a model of family '{planned}', but {source} is of family '{family.Name}'.");
        }
    }
}
