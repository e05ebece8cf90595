using TorchSharp;

namespace DispLlm.Modeling;

/// <summary>
/// A value for every gate of a model. Disposing it disposes its values: their owner does that. Immutable, so it can be used from many
/// threads until it is disposed.
/// </summary>
/// <param name="Values">
/// <c>[gates]</c>, float32 on the backend's device, in the order of <see cref="GateLayout"/>: 1 is open, 0 is closed, other values scale.
/// May require a gradient; the model's output is differentiable in it.
/// </param>
/// <param name="Order">Whether the norm or the selection comes first at S1 and S3.</param>
public sealed record Gates(torch.Tensor Values, NormOrder Order = NormOrder.NormThenSelect) : IDisposable
{
    private readonly PruningLayout _layout = PruningLayout.All;

    /// <summary>
    /// The layout, which says where gates act. Default: at all six sites. At S6, gates have no effect and no gradient in layouts that keep
    /// it whole. With one stream, the gates of S1, S2, S3 and S5 are to be the same in all blocks; they close features of the residual
    /// stream for whatever reads it, norms and head too, and <see cref="Order"/> has no effect.
    /// </summary>
    /// <exception cref="SelectionException">No such layout.</exception>
    public PruningLayout Layout
    {
        get => _layout;
        init => _layout = value.Checked();
    }

    /// <summary>
    /// Whether a forward pass saves only the input of each block for its backward pass, and recomputes the rest. A trainer's choice.
    /// Default no.
    /// </summary>
    internal bool CheckpointActivations { get; init; }

    /// <summary>
    /// The gates that are open where a plan keeps, with its scales where it has them: under them the dense model computes what the pruned
    /// model will.
    /// </summary>
    /// <param name="plan">The plan.</param>
    /// <param name="backend">The model's backend.</param>
    /// <returns>Gates of 0 and 1, or of 0 and scales. The caller disposes them.</returns>
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
                open[site.Offset + index] = plan.Scales is { } scales ? scales.Values[site.Offset + index] : 1;
            }
        }

        using var host = torch.tensor(open);
        return new Gates(host.to(backend.Device, copy: true), plan.NormOrder) { Layout = plan.Layout };
    }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}
