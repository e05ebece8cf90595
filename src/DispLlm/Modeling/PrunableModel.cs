using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A language model loaded from a checkpoint folder, dense or pruned. Thread-safe; <see cref="Dispose"/> waits for running calls, and calls
/// after it throw
/// <see cref="ObjectDisposedException"/>.
/// </summary>
public sealed class PrunableModel : IPrunableModel
{
    private readonly DecoderWeights _weights;
    private readonly Decoder _decoder;

    private PrunableModel(
        string folder, DecoderSpec spec, IModelFamily family, ITensorBackend backend, SelectionPlan? plan, DecoderWeights weights)
    {
        Folder = folder;
        Spec = spec;
        Family = family;
        Backend = backend;
        Plan = plan;
        GateLayout = new GateLayout(spec);
        _weights = weights;
        _decoder = new Decoder(spec, weights, backend, GateLayout, plan);
    }

    /// <inheritdoc/>
    public DecoderSpec Spec { get; }

    /// <inheritdoc/>
    public IModelFamily Family { get; }

    /// <inheritdoc/>
    public ITensorBackend Backend { get; }

    /// <inheritdoc/>
    public string Folder { get; }

    /// <inheritdoc/>
    public GateLayout GateLayout { get; }

    /// <inheritdoc/>
    public SelectionPlan? Plan { get; }

    /// <summary>
    /// Bytes of keys and values that a <see cref="KeyValueCache"/> holds for each token of a sequence, in the backend's compute type:
    /// those of the key-value heads that each block keeps.
    /// </summary>
    public long CacheBytesPerToken
    {
        get
        {
            long dense = (long)Spec.NumLayers * Spec.NumKeyValueHeads;
            long heads = Plan?.Blocks.Sum(block => (long)block.AttentionGroups.Count) ?? dense;
            return 2 * heads * Spec.HeadDim * SafetensorsType.ByteSize(Backend.ComputeType);
        }
    }

    /// <summary>The network, for callers that forward it block by block.</summary>
    internal Decoder Network => _decoder;

    /// <summary>Loads a checkpoint folder as it is published, or as <see cref="PrunedModelBuilder"/> writes it.</summary>
    /// <param name="folder">Folder with <c>config.json</c> and weights, in safetensors or as <c>pytorch_model.bin</c>.</param>
    /// <param name="backend">Where tensors live. Default: <see cref="TorchBackend.Cpu"/> in float32.</param>
    /// <param name="options">How to load.</param>
    /// <param name="cancellationToken">Stops loading; what was loaded is released.</param>
    /// <exception cref="CheckpointException">
    /// The folder, a file in it or a tensor is not as its configuration says, or a weight holds NaN or infinity; it is named. A weight that
    /// is mapped is looked through when the model is first used.
    /// </exception>
    /// <exception cref="UnsupportedModelException">The configuration asks for something that is not computed here; it is named.</exception>
    public static PrunableModel Load(
        string folder, ITensorBackend? backend = null, LoadOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new LoadOptions();
        backend ??= TorchBackend.Cpu();
        using var checkpoint = CheckpointFolder.Open(folder);
        var description = CheckpointDescription.Read(checkpoint, options.Families);
        var (_, family, spec, plan, _) = description;
        var weights = DecoderWeights.Read(checkpoint, description, backend, options.MapWeights, cancellationToken);
        try
        {
            var model = new PrunableModel(checkpoint.FolderPath, spec, family, backend, plan, weights);
            options.Logger.LogInformation(
                "Loaded {Kind} {Family} model from {Folder}: {Parameters:N0} parameters on {Backend}",
                plan is null ? "dense" : "pruned",
                family.Name,
                checkpoint.FolderPath,
                (plan is null ? new ParameterCounter(spec).Dense : new ParameterCounter(spec).Count(plan)).WholeModel,
                backend);
            return model;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A model of a configuration with uninitialized weights, to check shapes and sizes. On <see cref="TorchBackend.Meta"/> it takes no
    /// memory.
    /// </summary>
    /// <param name="config">A <c>config.json</c>.</param>
    /// <param name="backend">Where tensors live. Default: <see cref="TorchBackend.Meta"/>.</param>
    /// <param name="options">How to load.</param>
    public static PrunableModel FromConfig(ModelConfig config, ITensorBackend? backend = null, LoadOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        options ??= new LoadOptions();
        backend ??= TorchBackend.Meta();
        var family = options.Families.Resolve(config);
        var spec = DecoderSpec.Read(config, family);
        return new PrunableModel(string.Empty, spec, family, backend, null, DecoderWeights.Empty(spec, backend));
    }

    /// <summary>
    /// The model that is left under a plan, in memory: the same weights, bit for bit, as those that <see cref="PrunedModelBuilder"/> writes
    /// where the
    /// checkpoint has this backend's type. The caller disposes it; this model may be disposed before it.
    /// </summary>
    /// <param name="plan">What to keep.</param>
    /// <exception cref="ModelAlreadyPrunedException">This model is pruned already.</exception>
    /// <exception cref="SelectionException">The plan was made for a model of another shape or family.</exception>
    public PrunableModel Prune(SelectionPlan plan) => Prune(plan, null);

    /// <summary>The same, with weights of the caller's own.</summary>
    /// <param name="plan">What to keep.</param>
    /// <param name="reconstructed">Gives a weight, in its pruned shape, to be taken in place of the slice; null for none.</param>
    internal PrunableModel Prune(SelectionPlan plan, Func<WeightRole, int, Tensor?>? reconstructed)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ModelAlreadyPrunedException.ThrowIfPruned(this);
        using var use = _decoder.Enter();
        plan.Validate(Spec);
        if (plan.Family is { } planned && planned != Family.Name)
        {
            throw new SelectionException($"The plan is for a model of family '{planned}', but the model is of family '{Family.Name}'.");
        }

        return new PrunableModel(Folder, Spec, Family, Backend, plan, _weights.Prune(Spec, plan, reconstructed));
    }

    /// <inheritdoc/>
    public Tensor Logits(Tensor tokens, Gates? gates = null)
    {
        using var use = _decoder.Enter();
        Check(tokens, gates);
        return _decoder.Logits(tokens, gates, lastOnly: false);
    }

    /// <inheritdoc/>
    public Tensor HiddenStates(Tensor tokens, SequenceLayout? layout = null, Gates? gates = null)
    {
        using var use = _decoder.Enter();
        Check(tokens, gates, hasLayout: layout is not null);
        layout?.Check(tokens, Spec.MaxPositions);
        return _decoder.HiddenStates(tokens, layout, gates);
    }

    /// <inheritdoc/>
    public Tensor ApplyLmHead(Tensor features) => ApplyLmHead(features, null);

    /// <inheritdoc/>
    public Tensor ApplyLmHead(Tensor features, Gates? gates)
    {
        ArgumentNullException.ThrowIfNull(features);
        using var use = _decoder.Enter();
        Check(gates);
        return features.dim() > 0 && features.shape[^1] == _decoder.StreamSize
            ? _decoder.ApplyLmHead(features, gates)
            : throw new ArgumentException(
                $"Features are [..., {_decoder.StreamSize}], not [{string.Join(", ", features.shape)}].", nameof(features));
    }

    /// <inheritdoc/>
    public Tensor NextTokenLogits(Tensor tokens, Gates? gates = null)
    {
        using var use = _decoder.Enter();
        Check(tokens, gates);
        using var logits = _decoder.Logits(tokens, gates, lastOnly: true);
        return logits.squeeze(1);
    }

    /// <inheritdoc/>
    public Tensor NextTokenLogits(Tensor tokens, KeyValueCache cache, Gates? gates = null)
    {
        ArgumentNullException.ThrowIfNull(cache);
        using var use = _decoder.Enter();
        using var useOfCache = cache.Enter();
        if (!cache.BelongsTo(this))
        {
            throw new ArgumentException(
                $"The cache belongs to another model. Use one that {nameof(CreateKeyValueCache)} of this model returns.", nameof(cache));
        }

        Check(tokens, gates, cache.Length);
        if (cache.Padding is { } padding && padding.Count != tokens.shape[0])
        {
            throw new ArgumentException($"The cache is for {padding.Count} rows, not {tokens.shape[0]}.", nameof(tokens));
        }

        using var noGradient = no_grad();
        using var logits = _decoder.Logits(tokens, gates, lastOnly: true, cache);
        return logits.squeeze(1);
    }

    /// <inheritdoc/>
    public KeyValueCache CreateKeyValueCache(IReadOnlyList<int>? padding = null)
    {
        foreach (int count in padding ?? [])
        {
            ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(padding));
        }

        return new KeyValueCache(this, Spec.NumLayers, Spec.MaxPositions, padding);
    }

    /// <inheritdoc/>
    public Tensor MeanSquareActivations(Tensor tokens)
    {
        using var use = _decoder.Enter();
        Check(tokens, null);
        return Plan is null
            ? _decoder.MeanSquareActivations(tokens)
            : throw new ModelAlreadyPrunedException(Folder);
    }

    /// <inheritdoc/>
    public Tensor Weight(WeightRole role, int block = -1)
    {
        using var use = _decoder.Enter();
        return _weights[role, block];
    }

    /// <summary>The bias of a projection or norm; null where it has none.</summary>
    internal Tensor? Bias(WeightRole role, int block)
    {
        using var use = _decoder.Enter();
        return _weights.Bias(role, block);
    }

    /// <summary>A copy whose block weights can be changed; other weights share memory with this model's. The caller disposes it.</summary>
    internal PrunableModel CopyBlocks()
    {
        using var use = _decoder.Enter();
        return new PrunableModel(Folder, Spec, Family, Backend, Plan, _weights.CopyBlocks());
    }

    /// <inheritdoc/>
    public void Dispose() => _decoder.Dispose();

    private void Check(Tensor tokens, Gates? gates, long before = 0, bool hasLayout = false)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        if (tokens.dim() != 2 || tokens.dtype != ScalarType.Int64 || tokens.shape[1] == 0)
        {
            throw new ArgumentException(
                $"Tokens are [batch, seq] of type Int64 with at least one position, not [{string.Join(", ", tokens.shape)}] of type "
                    + $"{tokens.dtype}.",
                nameof(tokens));
        }

        // A layout has positions of its own, and may have more tokens.
        if (!hasLayout && before + tokens.shape[1] > Spec.MaxPositions)
        {
            throw new ArgumentException(
                $"{before + tokens.shape[1]} tokens are more than the {Spec.MaxPositions} positions of the model.", nameof(tokens));
        }

        CheckVocabulary(tokens);
        Check(gates);
    }

    private void Check(Gates? gates)
    {
        if (gates is null)
        {
            return;
        }

        if (Plan is not null)
        {
            throw new ModelAlreadyPrunedException(Folder);
        }

        if (gates.Values.dim() != 1 || gates.Values.shape[0] != GateLayout.Count)
        {
            throw new ArgumentException(
                $"The model has [{GateLayout.Count}] gates, not [{string.Join(", ", gates.Values.shape)}].", nameof(gates));
        }

        gates.Order.EnsureFits(Spec, gates.Layout);
    }

    /// <summary>An id outside the embedding would be a native error, or on a GPU a failed device. It is checked where that costs nothing:
    /// on the CPU.</summary>
    private void CheckVocabulary(Tensor tokens)
    {
        if (tokens.device_type != DeviceType.CPU || tokens.numel() == 0)
        {
            return;
        }

        // In a loop: four operators of libtorch cost a small model as much as a block.
        using Tensor ids = tokens.contiguous();
        foreach (long id in MemoryMarshal.Cast<byte, long>(ids.bytes))
        {
            if (id < 0 || id >= Spec.VocabularySize)
            {
                throw new ArgumentException($"Token id {id} is outside the vocabulary of {Spec.VocabularySize}.", nameof(tokens));
            }
        }
    }
}
