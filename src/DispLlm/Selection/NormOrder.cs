using static TorchSharp.torch;

namespace DispLlm;

/// <summary>Which comes first at S1 and S3: the norm or the selection. Used alike while learning and after cutting.</summary>
public enum NormOrder
{
    /// <summary>The norm sees all features, then some are selected (released code; the default).</summary>
    NormThenSelect,

    /// <summary>Features are selected first; the norm's statistics come from the kept ones only (paper, Fig. 2).</summary>
    SelectThenNorm,
}

/// <summary>Which models an order of norm and selection is for.</summary>
public static class NormOrders
{
    /// <summary>Refuses to select before a norm that stands behind the sublayer, not in front of it.</summary>
    /// <param name="order">The order.</param>
    /// <param name="spec">The model's spec.</param>
    /// <exception cref="SelectionException">The model's norms leave no such order.</exception>
    public static void EnsureFits(this NormOrder order, DecoderSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        if (order == NormOrder.SelectThenNorm && spec.NormPlacement == NormPlacement.PostNorm)
        {
            throw new SelectionException(
                $"{nameof(NormOrder.SelectThenNorm)} selects in front of the norm that a sublayer begins with, but this model's norms stand behind "
                + $"the residual sums: what a sublayer reads is normed already, by the sum before it. Use {nameof(NormOrder.NormThenSelect)}.");
        }
    }

    /// <summary>Whether a weight can take over gains of a site: with a norm between the two it cannot.</summary>
    internal static bool TakesScales(this NormOrder order, SelectionSite site) =>
        order == NormOrder.NormThenSelect || !site.Descriptor().ReadsStream;

    /// <summary>1 for each gate whose gain may differ from 1, 0 for the others: <c>[layout.Count]</c>, float32. The caller disposes it.</summary>
    internal static Tensor ScalableGates(this NormOrder order, GateLayout layout, Device device)
    {
        float[] free = [.. layout.Sites.SelectMany(site => Enumerable.Repeat(order.TakesScales(site.Site) ? 1f : 0f, site.Size))];
        using var host = tensor(free);
        return host.to(device, copy: true);
    }
}
