using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// How sublayers read from and write to the residual stream at the selection sites. The mathematics of a block is the same for a dense, a
/// gated and a pruned model;
/// only its policy differs.
/// </summary>
internal abstract class SitePolicy
{
    /// <summary>S1, S3: the input of a sublayer, taken from the residual stream <c>[batch, seq, d]</c>.</summary>
    /// <param name="site">The site.</param>
    /// <param name="hidden">The residual stream.</param>
    /// <param name="norm">The norm before the sublayer; null where norms follow the residual sums.</param>
    public abstract Tensor SelectInput(SelectionSite site, Tensor hidden, NormLayer? norm);

    /// <summary>S1, S3: the first projections of a sublayer's input, in their order.</summary>
    public virtual IReadOnlyList<Tensor> ProjectInputs(SelectionSite site, Tensor input, IReadOnlyList<Projection> projections) =>
        Projection.Apply(input, [.. projections]);

    /// <summary>Attention's queries or keys, normed.</summary>
    public virtual Tensor NormHeads(HeadNorm norm, Tensor projected) => norm.Apply(projected, null);

    /// <summary>The norm of a residual sum, where norms follow them.</summary>
    /// <param name="norm">The norm.</param>
    /// <param name="sum">The residual stream.</param>
    public virtual Tensor NormSum(NormLayer norm, Tensor sum) => norm.Apply(sum);

    /// <summary>
    /// S2, S5: the residual stream with what a sublayer makes of <c>[batch, seq, features]</c> added. Features pass the gates of S6 or S4
    /// first. At S5 the residual stream is the block's own and may be overwritten.
    /// </summary>
    public abstract Tensor AddOutput(SelectionSite site, Tensor residual, Tensor features, SublayerOutput output);
}

/// <summary>The end of a sublayer: what it writes to the residual stream.</summary>
/// <param name="Projection">Its last projection.</param>
/// <param name="Norm">The norm of what it projects; null for none.</param>
/// <param name="Scale">The factor of what it writes.</param>
internal sealed record SublayerOutput(Projection Projection, NormLayer? Norm, double Scale)
{
    /// <summary>What is written, of what is projected: of all features, or of those that are kept.</summary>
    public Tensor Finish(Tensor projected)
    {
        Tensor normed = Norm?.Apply(projected) ?? projected;
        return Scale == 1 ? normed : normed.MulScalar(Scale);
    }
}

/// <summary>A policy without gates.</summary>
internal abstract class UngatedPolicy : SitePolicy
{
    public override Tensor AddOutput(SelectionSite site, Tensor residual, Tensor features, SublayerOutput output) =>
        AddResidual(site, residual, output.Finish(output.Projection.Apply(features)));

    /// <summary>The residual stream with the output of a sublayer added.</summary>
    public abstract Tensor AddResidual(SelectionSite site, Tensor residual, Tensor output);
}

/// <summary>All features are read and written.</summary>
internal class DensePolicy : UngatedPolicy
{
    public override Tensor SelectInput(SelectionSite site, Tensor hidden, NormLayer? norm) => norm?.Apply(hidden) ?? hidden;

    public override Tensor AddResidual(SelectionSite site, Tensor residual, Tensor output) =>
        DeviceKernels.Sum(residual, output, mayOverwrite: site != SelectionSite.AttentionOutput);
}

/// <summary>The dense policy with callbacks. Tensors are valid, and unchanged, during the call only.</summary>
internal sealed class ObservingPolicy : DensePolicy
{
    /// <summary>Called with the input of projections: at S1 and S3 the first ones, at S6 attention's output projection, at S4 the down
    /// projection.</summary>
    public Action<SelectionSite, Tensor>? OnInput { get; init; }

    /// <summary>Called at S2 and S5 with the output of the last projection, before a norm and a factor.</summary>
    public Action<SelectionSite, Tensor>? OnProjected { get; init; }

    /// <summary>Called at S2 and S5 with what is written to the residual stream.</summary>
    public Action<SelectionSite, Tensor>? OnOutput { get; init; }

    /// <summary>Called at S2 and S5 with the residual stream before the output is added.</summary>
    public Action<SelectionSite, Tensor>? OnResidualBefore { get; init; }

    /// <summary>Called at S2 and S5 with the residual stream after the output is added.</summary>
    public Action<SelectionSite, Tensor>? OnResidualAfter { get; init; }

    public override Tensor SelectInput(SelectionSite site, Tensor hidden, NormLayer? norm)
    {
        Tensor input = base.SelectInput(site, hidden, norm);
        OnInput?.Invoke(site, input);
        return input;
    }

    public override Tensor AddOutput(SelectionSite site, Tensor residual, Tensor features, SublayerOutput output)
    {
        OnInput?.Invoke(site.FeaturesSite(), features);
        Tensor projected = output.Projection.Apply(features);
        OnProjected?.Invoke(site, projected);
        Tensor written = output.Finish(projected);
        OnOutput?.Invoke(site, written);
        OnResidualBefore?.Invoke(site, residual);
        Tensor sum = AddResidual(site, residual, written);
        OnResidualAfter?.Invoke(site, sum);
        return sum;
    }
}

/// <summary>
/// Only selected features are read, computed and written: index selection in, index addition out. At S4 and S6, and where a site keeps all
/// of the stream, nothing is left to do: the weights on both sides are pruned, or whole.
/// </summary>
internal sealed class PrunedPolicy(BlockIndices indices, NormOrder order) : DensePolicy
{
    public override Tensor SelectInput(SelectionSite site, Tensor hidden, NormLayer? norm)
    {
        if (indices[site] is not { } index)
        {
            return base.SelectInput(site, hidden, norm);
        }

        return norm switch
        {
            null => hidden.index_select(-1, index),
            _ when order == NormOrder.SelectThenNorm => norm.ApplyToSelected(hidden, index),
            _ => norm.ApplyThenSelect(hidden, index),
        };
    }

    public override Tensor AddResidual(SelectionSite site, Tensor residual, Tensor output)
    {
        if (indices[site] is not { } index)
        {
            return base.AddResidual(site, residual, output);
        }

        bool inPlace = site == SelectionSite.MlpOutput && !RowKernels.AnyHasGradient([residual, output]);
        return RowKernels.WithoutGradient(residual, output) is { } kernels ? kernels.IndexAdd(residual, index, output, inPlace)
            : inPlace ? residual.IndexAddInPlace(-1, index, output)
            : residual.IndexAdd(-1, index, output);
    }
}

/// <summary>
/// The kept indices of a pruned block as int64 tensors on the block's device, for the sites on the residual stream that do not keep all.
/// </summary>
internal sealed class BlockIndices : IDisposable
{
    private readonly SiteMap<Tensor?> _indices;

    private BlockIndices(SiteMap<Tensor?> indices) => _indices = indices;

    /// <summary>The kept indices of a site; null where all are kept.</summary>
    public Tensor? this[SelectionSite site] => _indices[site];

    public static BlockIndices From(SelectionPlan plan, int block, Device device)
    {
        Tensor Index(IReadOnlyList<int> list)
        {
            using var host = tensor(list.Select(i => (long)i).ToArray(), ScalarType.Int64);
            return host.to(device, copy: true).DetachFromDisposeScope();
        }

        var indexed = PrunedFormat.IndexedSites(plan, block).ToHashSet();
        return new BlockIndices(SiteMap.Create(site => indexed.Contains(site) ? Index(plan.Blocks[block][site]) : null));
    }

    public void Dispose()
    {
        foreach (var site in SelectionSites.All)
        {
            _indices[site]?.Dispose();
        }
    }
}
