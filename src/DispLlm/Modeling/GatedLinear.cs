using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The gates of one site.</summary>
/// <param name="Values"><c>[size of the site]</c>, float32.</param>
/// <param name="Open">
/// The indices that matrix multiplications compute with, int64: all open gates, and the few closed ones that fill a vector. Null where all
/// are computed with.
/// </param>
internal sealed record SiteGates(Tensor Values, Tensor? Open)
{
    /// <summary>Features <c>[..., size]</c> times their gates: all of them, or only the open ones.</summary>
    public Tensor Apply(Tensor features) => DeviceKernels.Gated(features, Values, Open);

    /// <summary>Gates of which matrix multiplications skip the closed ones.</summary>
    /// <param name="values"><c>[size]</c>, float32.</param>
    public static SiteGates From(Tensor values) => new(values, DeviceKernels.SelectOpenGates(values));

    /// <summary>The gates of groups of features as gates of features: <c>[groups]</c> to <c>[features]</c>.</summary>
    public static Tensor ForFeatures(Tensor groups, long features) => groups.repeat_interleave(features / groups.size(0));
}

/// <summary>
/// Linear projections of gated features: <c>y = (x * s) W^T + b</c>. The forward pass skips the columns of W whose gate is closed, the
/// backward pass the rows whose
/// output is multiplied by a closed gate. The gradient of a closed gate needs all columns, so each multiplication is shortened on one side
/// only.
/// </summary>
internal sealed class GatedInputLinear : autograd.MultiTensorFunction<GatedInputLinear>
{
    public override string Name => nameof(GatedInputLinear);

    /// <summary>The projections of <c>[..., in]</c>, in their order; differentiable in the features and the gates.</summary>
    /// <param name="x">The features before the gates.</param>
    /// <param name="gates">The gates.</param>
    /// <param name="projections">The projections.</param>
    /// <param name="outputGates">The gates that outputs of the same index are multiplied by later; null for none.</param>
    public static IReadOnlyList<Tensor> Apply(Tensor x, SiteGates gates, IReadOnlyList<Projection> projections, SiteGates? outputGates) =>
        apply(x, gates.Values, gates.Open!, outputGates?.Open!, projections);

    /// <inheritdoc/>
    public override List<Tensor> forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (x, gates) = ((Tensor)vars[0], new SiteGates((Tensor)vars[1], (Tensor?)vars[2]));
        var projections = (IReadOnlyList<Projection>)vars[4];
        ctx.save_for_backward([x, gates.Values, (Tensor)vars[3], .. projections.Select(projection => projection.Weight)]);
        using var scope = NewDisposeScope();
        Tensor gated = gates.Apply(x);
        return [.. projections.Select(projection => projection.OnColumns(gates.Open).Apply(gated).MoveToOuterDisposeScope())];
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, List<Tensor> grad_outputs)
    {
        using var scope = new AutogradBackwardScope([.. grad_outputs]);
        var saved = ctx.get_saved_variables();
        var (x, gates, openOutputs) = (saved[0], saved[1], saved[2]);
        Tensor? sum = null;
        for (int i = 0; i < grad_outputs.Count; i++)
        {
            Tensor weight = saved[3 + i], gradOutput = Projection.Rows(grad_outputs[i]);
            gradOutput = openOutputs is null ? gradOutput : DeviceKernels.Columns(gradOutput, openOutputs);
            weight = openOutputs is null ? weight : weight.index_select(0, openOutputs);
            sum = sum is null ? DeviceKernels.Mm(gradOutput, weight) : DeviceKernels.AddMm(sum, gradOutput, weight);
        }

        Tensor gradInput = sum!.view(x.shape);
        Tensor gradGates = DeviceKernels.GateBackward(x, gradInput, gates);
        return [scope.Return(gradInput), scope.Return(gradGates), null!, null!, null!];
    }
}

/// <summary>
/// A linear projection with gated outputs, and gated inputs where they have gates, added to the residual stream: <c>h + ((x * s) W^T + b) *
/// t</c>. The forward pass skips
/// the columns of W whose s is closed, the backward pass the rows whose t is closed.
/// </summary>
internal sealed class GatedOutputLinear : autograd.SingleTensorFunction<GatedOutputLinear>
{
    public override string Name => nameof(GatedOutputLinear);

    /// <summary>The residual stream with the projection of <c>[..., in]</c> added; differentiable in the stream, the features and both
    /// gates.</summary>
    /// <param name="residual">The residual stream, <c>[..., out]</c>.</param>
    /// <param name="x">The features, before their gates where they have some.</param>
    /// <param name="inputGates">The gates of the inputs; null for none.</param>
    /// <param name="projection">The projection.</param>
    /// <param name="outputGates">The gates of the outputs.</param>
    public static Tensor Apply(Tensor residual, Tensor x, SiteGates? inputGates, Projection projection, SiteGates outputGates) =>
        apply(residual, x, inputGates?.Values!, inputGates?.Open!, outputGates.Values, outputGates.Open!, (object)projection);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (residual, x, outputGates, projection) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[4], (Projection)vars[6]);
        var inputGates = vars[2] is Tensor values ? new SiteGates(values, (Tensor?)vars[3]) : null;
        using var scope = NewDisposeScope();
        Tensor output = projection.OnColumns(inputGates?.Open).Apply(inputGates?.Apply(x) ?? x);
        ctx.save_for_backward([x, inputGates?.Values!, outputGates, (Tensor)vars[5], output, projection.Weight]);
        output.MoveToOuterDisposeScope();
        return DeviceKernels.AddGated(residual, output, outputGates).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        var (x, inputGates, outputGates, open, output, weight) = (saved[0], saved[1], saved[2], saved[3], saved[4], saved[5]);
        var (gradOutputGates, gradOutput) = DeviceKernels.GateBackward(output, grad_output, outputGates, open);
        weight = open is null ? weight : weight.index_select(0, open);
        Tensor gradInput = DeviceKernels.Mm(Projection.Rows(gradOutput), weight).view(x.shape);
        Tensor? gradInputGates = inputGates is null ? null : scope.Return(DeviceKernels.GateBackward(x, gradInput, inputGates));
        return [scope.Return(grad_output.alias()), scope.Return(gradInput), gradInputGates!, null!,
            scope.Return(gradOutputGates), null!, null!];
    }
}
