using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps what the loss is sensitive to: the score of a gate is <c>log(sum over windows of (d loss / d gate)^2 / parameters that closing it frees)</c>,
/// the diagonal of the empirical Fisher information per parameter (method, section 8). Needs no training. The gates are closed in several
/// rounds, each measured with the gates closed that the round before chose: what a feature is worth depends on what is still there.
/// </summary>
public sealed record FisherSelection : ISelectionStrategy
{
    /// <inheritdoc/>
    public string Name => "fisher";

    /// <inheritdoc/>
    public bool NeedsCalibration => true;

    /// <summary>Rounds in which the budget is approached, in equal steps. Default 8; 1 measures the dense model only.</summary>
    public int Rounds { get; init; } = 8;

    /// <summary>Windows measured in each round. Default 16; at least 1.</summary>
    public int SequencesPerRound { get; init; } = 16;

    /// <summary>How much of the earlier rounds' sums stays in each round's. Default 0.5; from 0 to 1.</summary>
    public double Momentum { get; init; } = 0.5;

    /// <summary>
    /// How far gains of open gates step down the loss in each round, in closed form from the gradients that are measured anyway (method): at most by this much a round. Default
    /// 0.05; 0 leaves all gains at 1, and so does a single round. From 0 to 1. A strategy that only starts from these scores takes no gains over.
    /// </summary>
    public double ScaleStep { get; init; } = 0.05;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? SequenceLength { get; init; }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfLessThan(Rounds, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequencesPerRound, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequenceLength ?? 2, 2, nameof(SequenceLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(Momentum, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Momentum, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(ScaleStep, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ScaleStep, 1);

        request.EnsureReachable(Name);
        var model = request.Model;
        var windows = CalibrationSampler.Create(request, Name, SequenceLength, cancellationToken);
        var counter = new ParameterCounter(model.Spec);
        long dense = counter.Dense[request.Budget.Scope], target = request.Budget.TargetFor(counter);
        var plan = SelectionPlan.Dense(model.Spec);
        SelectionScores? scores = null;
        using var scope = NewDisposeScope();
        Tensor information = zeros(model.GateLayout.Count, device: model.Backend.Device);

        // A single round sees no gate closed: there is nothing yet that gains could make up for.
        using var gains = ScaleStep > 0 && Rounds > 1 ? new MeasuredScales(model.GateLayout, request.NormOrder, model.Backend.Device, ScaleStep) : null;
        var kept = new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model);
        double weight = 0;
        var clock = Stopwatch.StartNew();
        for (int round = 0; round < Rounds; round++)
        {
            using var step = NewDisposeScope();
            information.MulScalarInPlace(Momentum);
            weight = weight * Momentum + SequencesPerRound;
            Tensor open = Gates.FromPlan(plan, model.Backend).Values;
            using var gates = new Gates(gains is null ? open : open * gains.Values, request.NormOrder);
            Tensor slope = Measure(request, gates, windows, kept, round, information, clock, cancellationToken);
            gains?.Step(open, slope.DivScalar(SequencesPerRound), information.MulScalar((windows.SequenceLength - 1) / weight));
            using var host = information.cpu();
            scores = GateScores.PerParameter(model.GateLayout, host.data<float>().ToArray(), plan, request.Budget.Scope);
            long allowed = dense - (long)((double)(dense - target) * (round + 1) / Rounds);
            plan = round == Rounds - 1
                ? request.Project(Name, scores)
                : (request with { Budget = PruningBudget.FromParameters(allowed) with { Scope = request.Budget.Scope } }).Project(Name, scores);
        }

        return new SelectionOutcome(plan with { Scales = gains?.Found(model.GateLayout) }, scores!, []);
    }

    /// <summary>Adds the squares of a round's gradients to the information, and returns the sum <c>[gates]</c> of the gradients themselves.</summary>
    private Tensor Measure(
        SelectionRequest request, Gates gates, SequenceSampler windows, ActivationCheckpointingPolicy kept, int round, Tensor information, Stopwatch clock, CancellationToken cancellation)
    {
        Tensor slope = zeros_like(information);
        for (int i = 0; i < SequencesPerRound; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor window = windows.Batch((long)round * SequencesPerRound + i);
            using var gradients = GateGradients.Compute(request.Model, gates.Values, gates.Order, [window], kept, cancellationToken: cancellation);
            NumericalException.ThrowIfNotFinite(gradients.Gradient, request.Model.GateLayout, round * SequencesPerRound + i + 1, "a gate gradient of the Fisher scores");
            information.AddInPlace(gradients.Gradient.PowScalar(2));
            slope.AddInPlace(gradients.Gradient);
            request.Measuring?.Report(new MeasuringProgress(round * SequencesPerRound + i + 1, Rounds * SequencesPerRound, clock.Elapsed));
        }

        return slope;
    }
}
