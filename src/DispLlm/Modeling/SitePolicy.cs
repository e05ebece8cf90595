using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// How the residual stream enters and leaves the sublayers of a block at the five selection sites. The block's mathematics is the same for a dense,
/// a gated and a pruned model; only this differs.
/// </summary>
internal abstract class SitePolicy
{
    /// <summary>
    /// S1, S3: what a sublayer reads of the stream <c>[batch, seq, d]</c>, through the norm that stands in front of it; none does where norms
    /// stand behind the residual sums.
    /// </summary>
    public abstract Tensor Enter(SelectionSite site, Tensor stream, NormLayer? norm);

    /// <summary>S1, S3: what the sublayer's first projections make of what entered, in their order.</summary>
    public virtual IReadOnlyList<Tensor> Read(SelectionSite site, Tensor entered, IReadOnlyList<Projection> readers) =>
        Projection.Apply(entered, [.. readers]);

    /// <summary>
    /// S2, S5: the stream with what the last projection makes of <c>[batch, seq, features]</c> added, behind the gates of S4 where features are the MLP's. At S5 the stream is the block's
    /// own and may be written over.
    /// </summary>
    public abstract Tensor Leave(SelectionSite site, Tensor stream, Tensor features, Projection writer);
}

/// <summary>Nothing is multiplied by gates: what is written is added as it is, everywhere or where it belongs.</summary>
internal abstract class UngatedPolicy : SitePolicy
{
    public override Tensor Leave(SelectionSite site, Tensor stream, Tensor features, Projection writer) => Sum(site, stream, writer.Apply(features));

    /// <summary>The stream with what the last projection wrote added.</summary>
    public abstract Tensor Sum(SelectionSite site, Tensor stream, Tensor output);
}

/// <summary>Everything passes.</summary>
internal class DensePolicy : UngatedPolicy
{
    public override Tensor Enter(SelectionSite site, Tensor stream, NormLayer? norm) => norm?.Apply(stream) ?? stream;

    public override Tensor Sum(SelectionSite site, Tensor stream, Tensor output) =>
        DeviceKernels.Sum(stream, output, mayOverwrite: site != SelectionSite.AttentionOutput);
}

/// <summary>
/// Every feature is multiplied by its gate: the network that learning sees. With gates of 0 and 1 it computes exactly what the
/// pruned network computes.
/// </summary>
/// <param name="gates">The gates of each site of the block.</param>
/// <param name="order">Norm or selection first.</param>
internal sealed class GatedPolicy(Func<SelectionSite, SiteGates> gates, NormOrder order) : SitePolicy
{
    public override Tensor Enter(SelectionSite site, Tensor stream, NormLayer? norm) => norm is not null && order == NormOrder.SelectThenNorm
        ? norm.ApplyToGated(stream, gates(site).Values)
        : norm?.Apply(stream) ?? stream;

    // Under SelectThenNorm the gates have acted in the norm already.
    public override IReadOnlyList<Tensor> Read(SelectionSite site, Tensor entered, IReadOnlyList<Projection> readers) => order == NormOrder.SelectThenNorm
        ? base.Read(site, entered, readers)
        : GatedRead.Apply(entered, gates(site), readers, site == SelectionSite.MlpInput ? gates(SelectionSite.MlpHidden) : null);

    // Hidden features are gated once, as a product: gating gate and up each, as the released code does, squares soft gates (method, section 1).
    public override Tensor Leave(SelectionSite site, Tensor stream, Tensor features, Projection writer) =>
        GatedWrite.Apply(stream, features, site == SelectionSite.MlpOutput ? gates(SelectionSite.MlpHidden) : null, writer, gates(site));
}

/// <summary>Everything passes, and is shown as it comes by. The tensors are alive, and unchanged, during the call only.</summary>
internal sealed class ObservingPolicy : DensePolicy
{
    /// <summary>Told what projections read: at S1 and S3 the readers, at S2 attention's output projection, at S4 the down projection.</summary>
    public Action<SelectionSite, Tensor>? OnRead { get; init; }

    /// <summary>Told at S2 and S5 what is written.</summary>
    public Action<SelectionSite, Tensor>? OnWritten { get; init; }

    /// <summary>Told at S2 and S5 of the stream that the output is added to.</summary>
    public Action<SelectionSite, Tensor>? OnBefore { get; init; }

    /// <summary>Told at S2 and S5 of the stream with the output added.</summary>
    public Action<SelectionSite, Tensor>? OnBehind { get; init; }

    public override Tensor Enter(SelectionSite site, Tensor stream, NormLayer? norm)
    {
        Tensor entered = base.Enter(site, stream, norm);
        OnRead?.Invoke(site, entered);
        return entered;
    }

    public override Tensor Leave(SelectionSite site, Tensor stream, Tensor features, Projection writer)
    {
        OnRead?.Invoke(site == SelectionSite.MlpOutput ? SelectionSite.MlpHidden : site, features);
        Tensor output = writer.Apply(features);
        OnWritten?.Invoke(site, output);
        OnBefore?.Invoke(site, stream);
        Tensor behind = Sum(site, stream, output);
        OnBehind?.Invoke(site, behind);
        return behind;
    }
}

/// <summary>Only what is selected is read, computed and written: index selection in, index addition out. The weights on both sides of S4 are cut.</summary>
internal sealed class PrunedPolicy(BlockIndices indices, NormOrder order) : UngatedPolicy
{
    public override Tensor Enter(SelectionSite site, Tensor stream, NormLayer? norm)
    {
        Tensor index = site == SelectionSite.AttentionInput ? indices.AttentionInput : indices.MlpInput;
        return norm switch
        {
            null => stream.index_select(-1, index),
            _ when order == NormOrder.SelectThenNorm => norm.ApplyToSelected(stream, index),
            _ => norm.ApplyThenSelect(stream, index),
        };
    }

    public override Tensor Sum(SelectionSite site, Tensor stream, Tensor output)
    {
        bool inPlace = site == SelectionSite.MlpOutput && !RowKernels.AnyHasGradient([stream, output]);
        Tensor index = site == SelectionSite.MlpOutput ? indices.MlpOutput : indices.AttentionOutput;
        return RowKernels.WithoutGradient(stream, output) is { } kernels ? kernels.IndexAdd(stream, index, output, inPlace)
            : inPlace ? stream.IndexAddInPlace(-1, index, output)
            : stream.IndexAdd(-1, index, output);
    }
}

/// <summary>The index lists of a pruned block as int64 tensors on the block's device.</summary>
internal sealed record BlockIndices(Tensor AttentionInput, Tensor AttentionOutput, Tensor MlpInput, Tensor MlpOutput) : IDisposable
{
    public static BlockIndices From(BlockSelection selection, Device device)
    {
        Tensor Index(IReadOnlyList<int> list)
        {
            using var host = tensor(list.Select(i => (long)i).ToArray(), ScalarType.Int64);
            return host.to(device, copy: true).DetachFromDisposeScope();
        }

        return new BlockIndices(
            Index(selection.AttentionInput), Index(selection.AttentionOutput), Index(selection.MlpInput), Index(selection.MlpOutput));
    }

    public void Dispose()
    {
        AttentionInput.Dispose();
        AttentionOutput.Dispose();
        MlpInput.Dispose();
        MlpOutput.Dispose();
    }
}
