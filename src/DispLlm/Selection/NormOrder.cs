using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Which comes first at S1 and S3: the norm or the selection (docs/method.md, Order of norm and selection). The same while learning and
/// after pruning.
/// </summary>
public enum NormOrder
{
    /// <summary>The norm is over all features, then some are selected (the released code; the default).</summary>
    NormThenSelect,

    /// <summary>Features are selected first; the norm's statistics are over the kept ones only (DISP-LLM, Fig. 2).</summary>
    SelectThenNorm,
}

/// <summary>What an order of norm and selection allows.</summary>
internal static class NormOrders
{
    /// <summary>
    /// Checks that a model whose norms come after the sublayers is not asked to select before them. With one stream, what is selected is
    /// the whole model's, and nothing is asked of single norms.
    /// </summary>
    /// <param name="order">The order.</param>
    /// <param name="spec">The model's spec.</param>
    /// <param name="layout">The layout.</param>
    /// <exception cref="SelectionException">The model does not allow the order.</exception>
    public static void EnsureFits(this NormOrder order, DecoderSpec spec, PruningLayout layout)
    {
        ArgumentNullException.ThrowIfNull(spec);
        if (order == NormOrder.SelectThenNorm && !spec.HasInputNorms && !layout.HasOneStream())
        {
            throw new SelectionException(
                $"{nameof(NormOrder.SelectThenNorm)} selects before the norm that a sublayer begins with, but this model's come "
                + $"after the sublayers. Use {nameof(NormOrder.NormThenSelect)}.");
        }
    }

    /// <summary>
    /// Whether a weight can absorb the scales of a site: with a norm between the two it cannot. Neither can a stream that all sites share.
    /// </summary>
    public static bool TakesScales(this NormOrder order, ModelShape model, PruningLayout layout, SelectionSite site) =>
        layout.HasGates(site)
        && (order == NormOrder.NormThenSelect || !site.Descriptor().ReadsStream)
        && !(model.OutputNorms && site.Descriptor().WritesStream)
        && !(model.QueryKeyNorm == QueryKeyNorm.AllHeads && site == SelectionSite.AttentionGroups)
        && !layout.Shares(site);

    /// <summary>
    /// 1 for each gate whose scale may differ from 1, 0 for the others: <c>[gates.Count]</c>, float32. The caller disposes it.
    /// </summary>
    public static Tensor ScalableGates(this NormOrder order, GateLayout gates, PruningLayout layout, Device device)
    {
        float[] free =
        [
            .. gates.Sites.SelectMany(site =>
                Enumerable.Repeat(order.TakesScales(gates.Model, layout, site.Site) ? 1f : 0f, site.Size)),
        ];
        using var host = tensor(free);
        return host.to(device, copy: true);
    }
}
