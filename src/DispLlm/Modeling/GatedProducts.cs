using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Modeling;

/// <summary>The gates of one site, and which of them products take where it pays to know.</summary>
/// <param name="Values"><c>[size of the site]</c>, float32.</param>
/// <param name="Open">
/// Where enough gates are exactly 0: the indices that products take, int64, of all that is open and of the few closed ones that fill a tile. Null where everything is computed.
/// </param>
internal sealed record SiteGates(Tensor Values, Tensor? Open)
{
    /// <summary>Features <c>[..., size]</c> behind the gates: all of them, or only those that products take.</summary>
    public Tensor Pass(Tensor features) => DeviceKernels.Gated(features, Values, Open);
}

/// <summary>
/// Projections that read gated features: <c>y = (x * s) W^T + b</c>. Forward, a closed gate needs no column of W; backward, an output that nobody
/// listens to (its own gate is closed) needs no row. The gradient of a closed gate still needs the whole way back, so each product is shortened on one side only.
/// </summary>
internal sealed class GatedRead : autograd.MultiTensorFunction<GatedRead>
{
    public override string Name => nameof(GatedRead);

    /// <summary>What the readers make of <c>[..., in]</c>, in their order; differentiable in the features and the gates.</summary>
    /// <param name="x">The features in front of the gates.</param>
    /// <param name="gates">The gates.</param>
    /// <param name="readers">The projections.</param>
    /// <param name="heard">The gates that the readers' outputs pass, as features of the same index; null where every output counts.</param>
    public static IReadOnlyList<Tensor> Apply(Tensor x, SiteGates gates, IReadOnlyList<Projection> readers, SiteGates? heard) =>
        apply(x, gates.Values, gates.Open!, heard?.Open!, readers);

    /// <inheritdoc/>
    public override List<Tensor> forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, gates) = ((Tensor)vars[0], new SiteGates((Tensor)vars[1], (Tensor?)vars[2]));
        var readers = (IReadOnlyList<Projection>)vars[4];
        ctx.save_for_backward([x, gates.Values, gates.Open!, (Tensor)vars[3]]);
        ctx.save_data(nameof(Projection), readers);
        using var scope = NewDisposeScope();
        Tensor passed = gates.Pass(x);
        return [.. readers.Select(reader => reader.OnColumns(gates.Open).Apply(passed).MoveToOuterDisposeScope())];
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, List<Tensor> grad_outputs)
    {
        using var scope = new AutogradBackwardScope([.. grad_outputs]);
        var saved = ctx.get_saved_variables();
        var (x, gates, heard) = (saved[0], saved[1], saved[3]);
        var readers = (IReadOnlyList<Projection>)ctx.get_data(nameof(Projection));
        Tensor? returned = null;
        for (int i = 0; i < readers.Count; i++)
        {
            Tensor listened = Projection.Rows(grad_outputs[i]);
            listened = heard is null ? listened : DeviceKernels.Columns(listened, heard);
            Tensor weight = heard is null ? readers[i].Weight : readers[i].Weight.index_select(0, heard);
            returned = returned is null ? DeviceKernels.Mm(listened, weight) : DeviceKernels.AddMm(returned, listened, weight);
        }

        Tensor back = returned!.view(x.shape);
        Tensor gradient = DeviceKernels.GateBackward(x, back, gates);
        return [scope.Return(back), scope.Return(gradient), null!, null!, null!];
    }
}

/// <summary>
/// A projection whose outputs are gated, whose inputs may be, and which is added to a stream: <c>h + ((x * s) W^T + b) * t</c>. Forward, a closed s needs no column of W;
/// backward, a closed t needs no row.
/// </summary>
internal sealed class GatedWrite : autograd.SingleTensorFunction<GatedWrite>
{
    public override string Name => nameof(GatedWrite);

    /// <summary>The stream with what the writer makes of <c>[..., in]</c>; differentiable in the stream, the features and both gates.</summary>
    /// <param name="stream">What is added to, <c>[..., out]</c>.</param>
    /// <param name="x">The features, in front of their gates where they have some.</param>
    /// <param name="read">The gates of its inputs; null for none.</param>
    /// <param name="writer">The projection.</param>
    /// <param name="written">The gates of its outputs.</param>
    public static Tensor Apply(Tensor stream, Tensor x, SiteGates? read, Projection writer, SiteGates written) =>
        apply(stream, x, read?.Values!, read?.Open!, written.Values, written.Open!, (object)writer);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (stream, x, written, writer) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[4], (Projection)vars[6]);
        var read = vars[2] is Tensor values ? new SiteGates(values, (Tensor?)vars[3]) : null;
        using var scope = NewDisposeScope();
        Tensor output = writer.OnColumns(read?.Open).Apply(read?.Pass(x) ?? x);
        ctx.save_for_backward([x, read?.Values!, written, (Tensor)vars[5], output]);
        ctx.save_data(nameof(Projection), writer);
        output.MoveToOuterDisposeScope();
        return DeviceKernels.AddGated(stream, output, written).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        var (x, read, written, open, output) = (saved[0], saved[1], saved[2], saved[3], saved[4]);
        var writer = (Projection)ctx.get_data(nameof(Projection));
        var (writtenGradient, listened) = DeviceKernels.GateBackward(output, grad_output, written, open);
        Tensor weight = open is null ? writer.Weight : writer.Weight.index_select(0, open);
        Tensor back = DeviceKernels.Mm(Projection.Rows(listened), weight).view(x.shape);
        Tensor? readGradient = read is null ? null : scope.Return(DeviceKernels.GateBackward(x, back, read));
        return [scope.Return(grad_output.alias()), scope.Return(back), readGradient!, null!, scope.Return(writtenGradient), null!, null!];
    }
}
