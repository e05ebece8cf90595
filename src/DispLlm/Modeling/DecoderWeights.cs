using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The tensors of a decoder by role, each on the device of its block, frozen.</summary>
internal sealed class DecoderWeights : IDisposable
{
    private readonly Dictionary<(WeightRole Role, int Block, bool IsBias), Tensor> _tensors = [];
    private readonly Lock _lock = new();
    private MappedWeights? _unchecked;

    public Tensor this[WeightRole role, int block] => _tensors.TryGetValue((role, block, false), out var tensor)
        ? tensor
        : throw new ArgumentOutOfRangeException(nameof(role), role, $"The model has no such weight in block {block}.");

    public Tensor? Bias(WeightRole role, int block) => _tensors.GetValueOrDefault((role, block, true));

    public Projection Projection(WeightRole role, int block) => new(this[role, block], Bias(role, block));

    public NormLayer Norm(DecoderSpec spec, WeightRole role, int block) => NormLayer.Create(spec, this[role, block], Bias(role, block));

    /// <summary>
    /// Reads a checkpoint's tensors. Whatever is missing, left over or of another shape than the configuration asks for is named,
    /// before the first tensor is read.
    /// </summary>
    public static DecoderWeights Read(
        CheckpointFolder folder,
        DecoderSpec spec,
        IModelFamily family,
        SelectionPlan? plan,
        ITensorBackend backend,
        bool mapped,
        CancellationToken cancellation)
    {
        var parameters = ParameterCatalog.CheckpointParameters(spec, family, folder);
        CheckNames(folder, parameters, family, plan);
        var inMap = new MappedWeights(folder.FolderPath, []);
        var weights = Create(parameters, parameter =>
        {
            cancellation.ThrowIfCancellationRequested();
            var device = GetDevice(parameter, spec, backend);
            if (mapped && folder.TryMapWeight(parameter.Name, device, backend.ComputeType) is { } tensor)
            {
                inMap.Tensors.Add((parameter.Name, tensor));
                return tensor;
            }

            return folder.ReadWeight(parameter.Name, device, backend.ComputeType);
        });
        weights._unchecked = inMap.Tensors.Count > 0 ? inMap : null;
        return weights;
    }

    /// <summary>
    /// Looks through the mapped weights, once, before their first use; to do so at load would read all that mapping leaves unread. Others
    /// were looked through as they were read.
    /// </summary>
    /// <exception cref="CheckpointException">A weight holds NaN or infinity; it is named.</exception>
    public void EnsureFinite()
    {
        if (Volatile.Read(ref _unchecked) is null)
        {
            return;
        }

        lock (_lock)
        {
            _unchecked?.EnsureFinite();
            _unchecked = null;
        }
    }

    /// <summary>Uninitialized weights of the right shapes, for the <c>meta</c> device.</summary>
    public static DecoderWeights Empty(DecoderSpec spec, IModelFamily family, ITensorBackend backend) => Create(
        ParameterCatalog.CheckpointParameters(spec, family),
        parameter => empty([.. parameter.Shape], backend.ComputeType, GetDevice(parameter, spec, backend)));

    /// <summary>
    /// The weights that a plan keeps, with its feature scales multiplied in. Tensors outside blocks share memory with these.
    /// </summary>
    /// <param name="spec">The spec of these dense weights.</param>
    /// <param name="family">The family that names them.</param>
    /// <param name="plan">A plan for the spec.</param>
    /// <param name="reconstructed">Gives a weight, in its pruned shape, to be taken in place of the slice; null for none.</param>
    public DecoderWeights Prune(DecoderSpec spec, IModelFamily family, SelectionPlan plan, Func<WeightRole, int, Tensor?>? reconstructed) =>
        Create(ParameterCatalog.CheckpointParameters(spec, family), parameter =>
        {
            Tensor dense = _tensors[(parameter.Role, parameter.Block, parameter.IsBias)];
            return parameter.Block < 0 ? dense.alias()
                : !parameter.IsBias && reconstructed?.Invoke(parameter.Role, parameter.Block) is { } weight
                    ? weight.to(dense.dtype, dense.device, copy: true)
                : PrunedSlice.For(parameter, plan).Apply(dense);
        });

    public void Dispose()
    {
        foreach (var tensor in _tensors.Values)
        {
            tensor.Dispose();
        }

        _tensors.Clear();
    }

    /// <summary>The same weights, those of blocks copied. Tensors outside blocks share memory with these.</summary>
    public DecoderWeights CopyBlocks()
    {
        var copy = new DecoderWeights();
        foreach (var ((role, block, isBias), tensor) in _tensors)
        {
            copy._tensors.Add((role, block, isBias), (block < 0 ? tensor.alias() : tensor.clone()).DetachFromDisposeScope());
        }

        return copy;
    }

    private static Device GetDevice(CheckpointParameter parameter, DecoderSpec spec, ITensorBackend backend) =>
        parameter.Block < 0 ? backend.Device : backend.GetBlockDevice(parameter.Block, spec.NumLayers);

    private static DecoderWeights Create(IEnumerable<CheckpointParameter> parameters, Func<CheckpointParameter, Tensor> create)
    {
        var weights = new DecoderWeights();
        try
        {
            foreach (var parameter in parameters)
            {
                using var scope = NewDisposeScope();
                weights._tensors.Add((parameter.Role, parameter.Block, parameter.IsBias), create(parameter).DetachFromDisposeScope());
            }
        }
        catch
        {
            weights.Dispose();
            throw;
        }

        return weights;
    }

    /// <summary>Names what is missing, left over or misshapen.</summary>
    public static void CheckNames(CheckpointFolder folder, IEnumerable<CheckpointParameter> slots, IModelFamily family, SelectionPlan? plan)
    {
        var expected = new HashSet<string>(StringComparer.Ordinal);
        foreach (var slot in slots)
        {
            expected.Add(slot.Name);
            if (!folder.Contains(slot.Name))
            {
                throw new CheckpointException(
                    folder.FolderPath, slot.Name,
                    $"the checkpoint holds no tensor '{slot.Name}', which its config.json asks for. Is it complete, and of this model?");
            }

            long[] shape = PrunedAxes.PrunedShape(slot, slot.Block < 0 ? null : plan?.Blocks[slot.Block]);
            if (!folder.WeightInfo(slot.Name).Shape.SequenceEqual(shape))
            {
                throw new CheckpointException(
                    folder.FolderPath,
                    slot.Name,
                    $"tensor '{slot.Name}' is [{string.Join(", ", folder.Info(slot.Name).Shape)}], but config.json asks for "
                        + $"[{string.Join(", ", shape)}].");
            }
        }

        // A tied head may be stored a second time; then it is the embedding's weight, and the embedding is read.
        string tiedHead = ParameterCatalog.TensorName(WeightRole.Head, -1, isBias: false, family);
        foreach (string name in folder.TensorNames)
        {
            if (!expected.Contains(name) && name != tiedHead && !family.IsIgnorable(name) && !PrunedFormat.IsIndexTensor(name, plan))
            {
                throw new CheckpointException(
                    folder.FolderPath, name,
                    $"tensor '{name}' is not part of a model with this config.json. Does the configuration belong to these weights?");
            }
        }
    }

    private sealed record MappedWeights(string Folder, List<(string Name, Tensor Tensor)> Tensors)
    {
        public void EnsureFinite()
        {
            string? name = Tensors.AsParallel().AsOrdered().Where(weight => HoldsNonFinite(weight.Tensor))
                .Select(weight => weight.Name).FirstOrDefault();
            if (name is not null)
            {
                throw NonFinite.Error(Folder, name);
            }
        }

        private static bool HoldsNonFinite(Tensor tensor)
        {
            bool found = false;
            var type = tensor.dtype;
            TensorBytes.Visit(tensor, (bytes, _) => found = found || NonFinite.IsIn(bytes, type));
            return found;
        }
    }
}
