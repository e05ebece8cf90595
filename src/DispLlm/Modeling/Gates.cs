using TorchSharp;

namespace DispLlm.Modeling;

/// <summary>A value for every gate of a model. Disposing it disposes its values: whoever made them does that.</summary>
/// <param name="Values">
/// <c>[gates]</c>, float32 on the backend's device, in the order of <see cref="GateLayout"/>: 1 lets a feature pass, 0 stops it.
/// May require a gradient; the model's output is differentiable in it.
/// </param>
/// <param name="Order">Whether the norm or the selection comes first at S1 and S3.</param>
public sealed record Gates(torch.Tensor Values, NormOrder Order = NormOrder.NormThenSelect) : IDisposable
{
    /// <summary>Whether a forward pass saves only the input of each block for its backward pass, and recomputes the rest. A trainer's choice. Default no.</summary>
    internal bool CheckpointActivations { get; init; }

    /// <summary>The gates that open what a plan keeps, by its gains where it has some: the dense model under them computes what the cut model will.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="backend">The model's backend.</param>
    /// <returns>Gates of 0 and 1, or of 0 and gains. The caller disposes them.</returns>
    public static Gates FromPlan(SelectionPlan plan, ITensorBackend backend)
    {
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(backend);
        var layout = new GateLayout(plan.Model);
        float[] open = new float[layout.Count];
        foreach (var site in layout.Sites)
        {
            foreach (int index in plan.Blocks[site.Block][site.Site])
            {
                open[site.Offset + index] = plan.Scales is { } gains ? gains.Values[site.Offset + index] : 1;
            }
        }

        using var host = torch.tensor(open);
        return new Gates(host.to(backend.Device, copy: true), plan.NormOrder);
    }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}
