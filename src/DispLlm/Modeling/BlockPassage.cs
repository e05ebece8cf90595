using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// How the residual stream enters and leaves the sublayers of a block: the five selection sites, one method each.
/// The block's mathematics is the same for a dense, a gated and a pruned model; only this differs.
/// </summary>
internal abstract class BlockPassage
{
    /// <summary>
    /// S1: what attention reads of the stream <c>[batch, seq, d]</c>, through the norm that stands in front of it; none does where norms
    /// stand behind the residual sums.
    /// </summary>
    public abstract Tensor EnterAttention(Tensor stream, NormLayer? norm);

    /// <summary>S2: the stream with what attention writes added.</summary>
    public abstract Tensor LeaveAttention(Tensor stream, Tensor output);

    /// <summary>S3: what the MLP reads of the stream.</summary>
    public abstract Tensor EnterMlp(Tensor stream, NormLayer? norm);

    /// <summary>S4: the MLP's hidden features <c>[batch, seq, d_ff]</c>, after activation and product.</summary>
    public abstract Tensor PassHidden(Tensor hidden);

    /// <summary>S5: the stream with what the MLP writes added. The stream is the block's own and may be written over.</summary>
    public abstract Tensor LeaveMlp(Tensor stream, Tensor output);
}

/// <summary>Everything passes.</summary>
internal sealed class DensePassage : BlockPassage
{
    public override Tensor EnterAttention(Tensor stream, NormLayer? norm) => norm?.Apply(stream) ?? stream;

    public override Tensor LeaveAttention(Tensor stream, Tensor output) => stream + output;

    public override Tensor EnterMlp(Tensor stream, NormLayer? norm) => norm?.Apply(stream) ?? stream;

    public override Tensor PassHidden(Tensor hidden) => hidden;

    public override Tensor LeaveMlp(Tensor stream, Tensor output) => stream.requires_grad || output.requires_grad ? stream + output : stream.add_(output);
}

/// <summary>
/// Every feature is multiplied by its gate: the network that learning sees. With gates of 0 and 1 it computes exactly what the
/// pruned network computes.
/// </summary>
internal sealed class GatedPassage(Tensor s1, Tensor s2, Tensor s3, Tensor s4, Tensor s5, NormOrder order) : BlockPassage
{
    public override Tensor EnterAttention(Tensor stream, NormLayer? norm) => Enter(stream, norm, s1);

    public override Tensor LeaveAttention(Tensor stream, Tensor output) => stream + output * s2.to(output.dtype);

    public override Tensor EnterMlp(Tensor stream, NormLayer? norm) => Enter(stream, norm, s3);

    // Once, on the product: gating gate and up each, as the released code does, squares soft gates (method, section 1).
    public override Tensor PassHidden(Tensor hidden) => hidden * s4.to(hidden.dtype);

    public override Tensor LeaveMlp(Tensor stream, Tensor output) => stream + output * s5.to(output.dtype);

    private Tensor Enter(Tensor stream, NormLayer? norm, Tensor gate) => norm is not null && order == NormOrder.SelectThenNorm
        ? norm.ApplyToGated(stream, gate)
        : (norm?.Apply(stream) ?? stream) * gate.to(stream.dtype);
}

/// <summary>Passes as another passage does, and shows what stands in front of each gate.</summary>
internal sealed class ObservingPassage(BlockPassage inner, Action<SelectionSite, Tensor> observe) : BlockPassage
{
    public override Tensor EnterAttention(Tensor stream, NormLayer? norm)
    {
        observe(SelectionSite.AttentionInput, norm?.Apply(stream) ?? stream);
        return inner.EnterAttention(stream, norm);
    }

    public override Tensor LeaveAttention(Tensor stream, Tensor output)
    {
        observe(SelectionSite.AttentionOutput, output);
        return inner.LeaveAttention(stream, output);
    }

    public override Tensor EnterMlp(Tensor stream, NormLayer? norm)
    {
        observe(SelectionSite.MlpInput, norm?.Apply(stream) ?? stream);
        return inner.EnterMlp(stream, norm);
    }

    public override Tensor PassHidden(Tensor hidden)
    {
        observe(SelectionSite.MlpHidden, hidden);
        return inner.PassHidden(hidden);
    }

    public override Tensor LeaveMlp(Tensor stream, Tensor output)
    {
        observe(SelectionSite.MlpOutput, output);
        return inner.LeaveMlp(stream, output);
    }
}

/// <summary>Only what is selected is read, computed and written: index selection in, index addition out.</summary>
internal sealed class PrunedPassage(BlockIndices indices, NormOrder order) : BlockPassage
{
    public override Tensor EnterAttention(Tensor stream, NormLayer? norm) => Enter(stream, norm, indices.AttentionInput);

    public override Tensor LeaveAttention(Tensor stream, Tensor output) => AddAt(stream.clone(), indices.AttentionOutput, output);

    public override Tensor EnterMlp(Tensor stream, NormLayer? norm) => Enter(stream, norm, indices.MlpInput);

    // The weights on both sides are cut: nothing is left to select.
    public override Tensor PassHidden(Tensor hidden) => hidden;

    public override Tensor LeaveMlp(Tensor stream, Tensor output) => AddAt(stream, indices.MlpOutput, output);

    private Tensor Enter(Tensor stream, NormLayer? norm, Tensor index) => norm switch
    {
        null => stream.index_select(-1, index),
        _ when order == NormOrder.SelectThenNorm => norm.ApplyToSelected(stream, index),
        _ => norm.ApplyThenSelect(stream, index),
    };

    private static Tensor AddAt(Tensor stream, Tensor index, Tensor output)
    {
        if (!HostKernels.Take(stream, output))
        {
            return stream.requires_grad || output.requires_grad ? stream.index_add(-1, index, output, 1) : stream.index_add_(-1, index, output, 1);
        }

        HostKernels.AddAt(stream, index, output);
        return stream;
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
