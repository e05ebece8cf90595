using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// Every feature is multiplied by its gate (DISP-LLM, Eq. 6; docs/method.md, Selection sites). With gates of 0 and 1 this computes what the
/// pruned network computes.
/// </summary>
/// <param name="gates">The gates of each site of the block; null where they do not act.</param>
/// <param name="order">Whether the norm or the selection comes first.</param>
/// <param name="hasOneStream">
/// Whether the gates on the residual stream are the whole model's. They act where the stream is read, and in no other place: a closed
/// feature that is written but never read changes nothing, and the gradient of its gate is what opening it would do.
/// </param>
internal sealed class GatedPolicy(Func<SelectionSite, SiteGates?> gates, NormOrder order, bool hasOneStream) : DensePolicy
{
    public override Tensor SelectInput(SelectionSite site, Tensor hidden, NormLayer? norm) =>
        norm is not null && order == NormOrder.SelectThenNorm && gates(site) is { } acting
        ? norm.ApplyToGated(hidden, acting.Values)
        : base.SelectInput(site, hidden, norm);

    // Under SelectThenNorm the gates have acted in the norm already.
    public override IReadOnlyList<Tensor> ProjectInputs(SelectionSite site, Tensor input, IReadOnlyList<Projection> projections) =>
        order == NormOrder.SelectThenNorm || gates(site) is not { } acting
            ? base.ProjectInputs(site, input, projections)
            : GatedInputLinear.Apply(
                input, acting, projections, site == SelectionSite.MlpInput ? gates(SelectionSite.MlpHidden) : null);

    public override Tensor NormHeads(HeadNorm norm, Tensor projected) =>
        norm.Apply(projected, gates(SelectionSite.AttentionGroups)?.Values);

    public override Tensor NormSum(NormLayer norm, Tensor sum) =>
        hasOneStream ? norm.ApplyOverGated(sum, gates(SelectionSite.AttentionInput)!.Values) : base.NormSum(norm, sum);

    // Hidden features are gated once, after their product: to gate both factors, as the released code does, squares soft gates.
    public override Tensor AddOutput(SelectionSite site, Tensor residual, Tensor features, SublayerOutput output)
    {
        var (written, read) = (gates(site), gates(site.FeaturesSite()));
        read = site == SelectionSite.AttentionOutput && read is not null
            ? SiteGates.From(SiteGates.ForFeatures(read.Values, features.size(-1))) : read;
        if (output.Norm is null && written is not null && !hasOneStream)
        {
            written = output.Scale == 1 ? written : written with { Values = written.Values.MulScalar(output.Scale) };
            return GatedOutputLinear.Apply(residual, features, read, output.Projection, written);
        }

        Tensor projected = read is null
            ? output.Projection.Apply(features)
            : GatedInputLinear.Apply(features, read, [output.Projection], outputGates: null)[0];

        // The selection comes before the norm of what is written, in either order at S1 and S3 (docs/method.md, Norms after a sublayer).
        Tensor normed = (output.Norm, written) switch
        {
            (null, _) => projected,
            ({ } norm, null) => norm.Apply(projected),
            ({ } norm, _) when hasOneStream => norm.ApplyOverGated(projected, written.Values),
            ({ } norm, _) => norm.ApplyToGated(projected, written.Values),
        };
        return AddResidual(site, residual, output.Scale == 1 ? normed : normed.MulScalar(output.Scale));
    }
}
