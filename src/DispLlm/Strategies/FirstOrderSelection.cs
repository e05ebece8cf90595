using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps what the loss changes most with at first order. The score of a gate is
/// <c>log(|mean over sequences of d loss / d gate| / parameters that closing it removes)</c>. Needs no training.
/// <see cref="FisherSelection"/>, which sums squares, does not let sequences cancel each other. Immutable, so it can be used from many
/// threads.
/// </summary>
public sealed record FirstOrderSelection : CalibrationStrategy
{
    /// <inheritdoc/>
    public override string Name => "first-order";

    /// <inheritdoc/>
    protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var model = request.Model;
        using var scope = NewDisposeScope();
        using var open = new Gates(ones(model.GateLayout.Count, device: model.Backend.Device), request.Order) { Layout = request.Layout };
        using var learned = new LearnedGates(model.GateLayout, request.Layout, model.Backend.Device);
        var checkpointing = new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model);
        Tensor sum = Sum(
            request,
            (tokens, number) =>
            {
                var gradients = GateGradients.Compute(model, open, [tokens], checkpointing, 0, cancellationToken);
                NumericalException.ThrowIfNotFinite(gradients.Gradient, model.GateLayout, number,
                    "a gate gradient of the first-order scores");
                return gradients.Gradient;
            },
            cancellationToken);
        float[] means = learned.Sum(sum).DivScalarInPlace(Sequences).abs_().cpu().data<float>().ToArray();
        var dense = SelectionPlan.Dense(model.Spec, request.Layout);
        return new ScoreResult(GateScores.PerParameter(model.GateLayout, means, dense, request.Budget.Scope));
    }
}
