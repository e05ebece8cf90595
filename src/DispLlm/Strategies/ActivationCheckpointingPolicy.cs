using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// What steps keep for their way back, where that is left to the library: chosen once for each shape of a window. Asked again in a later step, an accelerator would count
/// the memory that the framework holds for its next tensors as taken, and steps that fit would begin to compute their blocks twice.
/// </summary>
/// <param name="wanted">What the caller asks for.</param>
/// <param name="model">The model that learns.</param>
internal sealed class ActivationCheckpointingPolicy(ActivationCheckpointing wanted, IPrunableModel model)
{
    private const double ShareOfFree = 0.8;

    private readonly Dictionary<(long Batch, long Length), ActivationCheckpointing> _chosen = [];

    /// <summary>What a step over a window keeps; never <see cref="ActivationCheckpointing.Automatic"/>.</summary>
    /// <param name="window">Tokens <c>[batch, seq]</c>.</param>
    public ActivationCheckpointing For(torch.Tensor window)
    {
        if (wanted != ActivationCheckpointing.Automatic)
        {
            return wanted;
        }

        var shape = (window.shape[0], window.shape[1]);
        if (!_chosen.TryGetValue(shape, out var kept))
        {
            _chosen[shape] = kept = WhatFits(shape);
        }

        return kept;
    }

    private ActivationCheckpointing WhatFits((long Batch, long Length) window)
    {
        var step = TrainingMemoryEstimate.Estimate(model.Spec, model.Backend.ComputeType, window.Batch, window.Length, model.Backend.Device.IsAccelerator());
        double room = model.Backend.Memory().AvailableBytes is { } free ? ShareOfFree * free : step.Weights;
        return step.AllBlocks + step.Logits > room ? ActivationCheckpointing.PerBlock : ActivationCheckpointing.None;
    }
}
