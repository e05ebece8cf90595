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

    /// <summary>A norm; null where the model has none.</summary>
    public NormLayer? TryNorm(DecoderSpec spec, WeightRole role, int block) =>
        _tensors.TryGetValue((role, block, false), out var weight) ? NormLayer.Create(spec, weight, Bias(role, block)) : null;

    /// <summary>A norm of queries or keys; null where the model has none.</summary>
    public HeadNorm? TryHeadNorm(DecoderSpec spec, WeightRole role, int block) =>
        _tensors.TryGetValue((role, block, false), out var weight) ? new HeadNorm(spec, weight, Bias(role, block)) : null;

    /// <summary>
    /// Reads a checkpoint's tensors. Whatever is missing, left over or of another shape than the configuration asks for is named,
    /// before the first tensor is read.
    /// </summary>
    public static DecoderWeights Read(
        CheckpointFolder folder, CheckpointDescription description, ITensorBackend backend, bool mapped, CancellationToken cancellation)
    {
        description.CheckTensors(folder);
        var spec = description.Spec;
        var weights = new DecoderWeights();
        var inMap = new MappedWeights(folder.FolderPath, []);
        try
        {
            foreach (var tensor in description.Tensors)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var device = GetDevice(tensor.Block, spec, backend);

                // Vectors are small, and some families have one for each head.
                Tensor? held = mapped && tensor.Shape.Count == 2
                    ? folder.TryMapWeight(tensor.Name, device, backend.ComputeType) : null;
                Tensor stored = held ?? folder.ReadWeight(tensor.Name, device, backend.ComputeType);
                foreach (var (part, value) in tensor.Split(stored))
                {
                    Tensor weight = weights.Add(
                        part.Parameter, ReferenceEquals(value, stored) ? stored : value.alias(), spec, part.FirstRow > 0);
                    if (held is not null)
                    {
                        inMap.Tensors.Add((tensor.Name, weight));
                    }
                }
            }
        }
        catch
        {
            weights.Dispose();
            throw;
        }

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
    public static DecoderWeights Empty(DecoderSpec spec, ITensorBackend backend) => Create(
        spec, parameter => empty([.. parameter.Shape], backend.ComputeType, GetDevice(parameter.Block, spec, backend)));

    /// <summary>
    /// The weights that a plan keeps, with its feature scales multiplied in. Tensors outside blocks that are kept whole share memory with
    /// these.
    /// </summary>
    /// <param name="spec">The spec of these dense weights.</param>
    /// <param name="plan">A plan for the spec.</param>
    /// <param name="reconstructed">Gives a weight, in its pruned shape, to be taken in place of the slice; null for none.</param>
    public DecoderWeights Prune(DecoderSpec spec, SelectionPlan plan, Func<WeightRole, int, Tensor?>? reconstructed) =>
        Create(spec, parameter =>
        {
            Tensor dense = _tensors[(parameter.Role, parameter.Block, parameter.IsBias)];
            var slice = PrunedSlice.For(parameter, plan);
            return parameter.Block < 0 && slice is { Rows: null, Columns: null } ? dense.alias()
                : !parameter.IsBias && reconstructed?.Invoke(parameter.Role, parameter.Block) is { } weight
                    ? weight.to(dense.dtype, dense.device, copy: true)
                : slice.Apply(dense);
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

    private static Device GetDevice(int block, DecoderSpec spec, ITensorBackend backend) =>
        block < 0 ? backend.Device : backend.GetBlockDevice(block, spec.NumLayers);

    /// <summary>Adds a parameter, or further rows of one.</summary>
    private Tensor Add(ParameterDescriptor parameter, Tensor value, DecoderSpec spec, bool isFurther)
    {
        var key = (parameter.Role, parameter.Block, parameter.IsBias);
        value = spec.NormWeightOffset != 0 && !parameter.IsBias && parameter.Role.IsNorm() ? value.AddScalar(spec.NormWeightOffset) : value;
        if (isFurther)
        {
            using Tensor before = _tensors[key];
            return _tensors[key] = cat([before, value]).DetachFromDisposeScope();
        }

        _tensors.Add(key, value.DetachFromDisposeScope());
        return value;
    }

    private static DecoderWeights Create(DecoderSpec spec, Func<ParameterDescriptor, Tensor> create)
    {
        var weights = new DecoderWeights();
        try
        {
            foreach (var parameter in ParameterCatalog.Parameters(spec))
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
    public static void CheckNames(CheckpointFolder folder, IEnumerable<CheckpointTensor> tensors, IModelFamily family, bool isPruned)
    {
        var expected = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tensor in tensors)
        {
            expected.Add(tensor.Name);
            if (!folder.Contains(tensor.Name))
            {
                throw new CheckpointException(
                    folder.FolderPath, tensor.Name,
                    $"the checkpoint holds no tensor '{tensor.Name}', which its config.json asks for. Is it complete, and of this model?");
            }

            var shape = tensor.Shape;
            if (!folder.WeightInfo(tensor.Name).Shape.SequenceEqual(shape))
            {
                throw new CheckpointException(
                    folder.FolderPath,
                    tensor.Name,
                    $"tensor '{tensor.Name}' is [{string.Join(", ", folder.Info(tensor.Name).Shape)}], but config.json asks for "
                        + $"[{string.Join(", ", shape)}].");
            }
        }

        // A tied head may be stored a second time; if it differed, the spec would not call it tied.
        string tiedHead = ParameterCatalog.TensorName(WeightRole.Head, -1, isBias: false, family);
        foreach (string name in folder.TensorNames)
        {
            if (!expected.Contains(name) && name != tiedHead && !family.IsIgnorable(name)
                && !(isPruned && PrunedFormat.IsIndexTensor(name)))
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
