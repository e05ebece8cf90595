using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// Resolves <see cref="ActivationCheckpointing.Automatic"/>, once for each shape of a batch. Asked again in a later step, an accelerator
/// would count the memory that libtorch caches as taken, and steps that fit would begin to recompute their blocks.
/// </summary>
/// <param name="wanted">What the caller asks for.</param>
/// <param name="model">The model that learns.</param>
internal sealed class ActivationCheckpointingPolicy(ActivationCheckpointing wanted, IPrunableModel model)
{
    private const double ShareOfFree = 0.8;

    private readonly Dictionary<(long Batch, long Length), ActivationCheckpointing> _chosen = [];

    /// <summary>What a step over a batch does; never <see cref="ActivationCheckpointing.Automatic"/>.</summary>
    /// <param name="tokens"><c>[batch, seq]</c>.</param>
    public ActivationCheckpointing For(torch.Tensor tokens)
    {
        if (wanted != ActivationCheckpointing.Automatic)
        {
            return wanted;
        }

        var shape = (tokens.shape[0], tokens.shape[1]);
        if (!_chosen.TryGetValue(shape, out var chosen))
        {
            _chosen[shape] = chosen = Choose(shape);
        }

        return chosen;
    }

    private ActivationCheckpointing Choose((long Batch, long Length) shape)
    {
        var step = TrainingMemoryEstimate.Estimate(model.Spec, model.Backend.ComputeType, shape.Batch, shape.Length,
            model.Backend.Device.IsAccelerator());
        double available = model.Backend.Memory().AvailableBytes is { } free ? ShareOfFree * free : step.Weights;
        return step.AllBlocks + step.Logits > available ? ActivationCheckpointing.PerBlock : ActivationCheckpointing.None;
    }
}
