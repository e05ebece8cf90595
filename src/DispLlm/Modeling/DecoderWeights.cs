using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The tensors of a decoder by role, each on the device of its block, frozen.</summary>
internal sealed class DecoderWeights : IDisposable
{
    private readonly Dictionary<(WeightRole Role, int Block, bool IsBias), Tensor> _tensors = [];

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
        var slots = ParameterCatalog.CheckpointParameters(spec, family, folder);
        CheckNames(folder, slots, family, plan);
        var weights = new DecoderWeights();
        try
        {
            foreach (var slot in slots)
            {
                cancellation.ThrowIfCancellationRequested();
                var device = slot.Block < 0 ? backend.Device : backend.GetBlockDevice(slot.Block, spec.NumLayers);
                using var scope = NewDisposeScope();
                var tensor = mapped ? folder.Map(slot.Name, device, backend.ComputeType) : folder.Read(slot.Name, device, backend.ComputeType);
                weights._tensors.Add((slot.Role, slot.Block, slot.IsBias), tensor.DetachFromDisposeScope());
            }
        }
        catch
        {
            weights.Dispose();
            throw;
        }

        return weights;
    }

    /// <summary>Weights of the right shapes with nothing in them, for the memory-free device.</summary>
    public static DecoderWeights Empty(DecoderSpec spec, IModelFamily family, ITensorBackend backend)
    {
        var weights = new DecoderWeights();
        foreach (var slot in ParameterCatalog.CheckpointParameters(spec, family))
        {
            var device = slot.Block < 0 ? backend.Device : backend.GetBlockDevice(slot.Block, spec.NumLayers);
            weights._tensors.Add(
                (slot.Role, slot.Block, slot.IsBias), empty([.. slot.Shape], backend.ComputeType, device).DetachFromDisposeScope());
        }

        return weights;
    }

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
                    folder.FolderPath, slot.Name, $"the checkpoint holds no tensor '{slot.Name}', which its config.json asks for. Is it complete, and of this model?");
            }

            long[] shape = PrunedAxes.PrunedShape(slot, slot.Block < 0 ? null : plan?.Blocks[slot.Block]);
            if (!folder.Info(slot.Name).Shape.SequenceEqual(shape))
            {
                throw new CheckpointException(
                    folder.FolderPath,
                    slot.Name,
                    $"tensor '{slot.Name}' is [{string.Join(", ", folder.Info(slot.Name).Shape)}], but config.json asks for [{string.Join(", ", shape)}].");
            }
        }

        // A tied head may be stored a second time; then it is the embedding's weight, and the embedding is read.
        string tiedHead = ParameterCatalog.TensorName(WeightRole.Head, -1, isBias: false, family);
        foreach (string name in folder.TensorNames)
        {
            if (!expected.Contains(name) && name != tiedHead && !family.IsIgnorable(name) && !PrunedFormat.IsIndexTensor(name, plan))
            {
                throw new CheckpointException(
                    folder.FolderPath, name, $"tensor '{name}' is not part of a model with this config.json. Does the configuration belong to these weights?");
            }
        }
    }
}
