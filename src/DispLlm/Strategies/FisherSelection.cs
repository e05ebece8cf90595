using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps what the loss is sensitive to. The score of a gate is
/// <c>log(sum over sequences of (d loss / d gate)^2 / parameters that closing it removes)</c>, the diagonal of the empirical Fisher
/// information per parameter (docs/method.md, Fisher scores). Needs no training. Gates are closed in several rounds, each measured with the
/// gates closed that the round before chose: what a feature is worth depends on what is still kept. Immutable, so it can be used from many
/// threads.
/// </summary>
public sealed record FisherSelection : ScoreStrategy
{
    /// <inheritdoc/>
    public override string Name => "fisher";

    /// <inheritdoc/>
    public override bool NeedsCalibration => true;

    /// <summary>Rounds in which the budget is approached, in equal steps. Default 8; 1 measures the dense model only.</summary>
    public int Rounds { get; init; } = 8;

    /// <summary>Calibration sequences of each round. Default 16; at least 1.</summary>
    public int SequencesPerRound { get; init; } = 16;

    /// <summary>How much of the earlier rounds' sums each round keeps. Default 0.5; from 0 to 1.</summary>
    public double Momentum { get; init; } = 0.5;

    /// <summary>
    /// The most that the scale of an open gate moves down the loss in a round, in closed form from the gradients that are measured anyway
    /// (docs/method.md, Feature scales). Default 0.05; from 0 to 1. With 0, or with a single round, all scales stay 1. A strategy that only
    /// starts from these scores takes no scales over.
    /// </summary>
    public double ScaleStep { get; init; } = 0.05;

    /// <summary>Sequence length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? SequenceLength { get; init; }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Settings =>
        new StrategySettings().With(Rounds).With(SequencesPerRound).With(Momentum).With(ScaleStep).With(SequenceLength);

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    protected override void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Rounds, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequencesPerRound, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequenceLength ?? 2, 2, nameof(SequenceLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(Momentum, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Momentum, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(ScaleStep, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ScaleStep, 1);
    }

    /// <inheritdoc/>
    protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var model = request.Model;
        var sequences = CalibrationSampler.Create(request, Name, SequenceLength, cancellationToken);
        var counter = new ParameterCounter(model.Spec);
        long dense = counter.Dense[request.Budget.Scope], target = request.Budget.TargetFor(counter);
        var plan = SelectionPlan.Dense(model.Spec);
        SelectionScores? scores = null;
        using var scope = NewDisposeScope();
        Tensor information = zeros(model.GateLayout.Count, device: model.Backend.Device);

        // A single round closes no gate: there is nothing yet that scales could make up for.
        using var scales =
            ScaleStep > 0 && Rounds > 1 ? new MeasuredScales(model.GateLayout, request.NormOrder, model.Backend.Device, ScaleStep) : null;
        var checkpointing = new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model);
        double weight = 0;
        var clock = Stopwatch.StartNew();
        for (int round = 0; round < Rounds; round++)
        {
            using var step = NewDisposeScope();
            information.MulScalarInPlace(Momentum);
            weight = weight * Momentum + SequencesPerRound;
            Tensor open = Gates.FromPlan(plan, model.Backend).Values;
            using var gates = new Gates(scales is null ? open : open * scales.Values, request.NormOrder);
            Tensor sum = Measure(request, gates, sequences, checkpointing, round, information, clock, cancellationToken);
            scales?.Step(open, sum.DivScalar(SequencesPerRound), information.MulScalar((sequences.SequenceLength - 1) / weight));
            using var host = information.cpu();
            scores = GateScores.PerParameter(model.GateLayout, host.data<float>().ToArray(), plan, request.Budget.Scope);
            if (round < Rounds - 1)
            {
                long allowed = dense - (long)((double)(dense - target) * (round + 1) / Rounds);
                plan = (request with { Budget = PruningBudget.FromParameters(allowed) with { Scope = request.Budget.Scope } })
                    .Project(Name, scores);
            }
        }

        return new ScoreResult(scores!) { Scales = scales?.Found(model.GateLayout) };
    }

    /// <summary>
    /// Adds the squares of a round's gradients to the information, and returns the sum <c>[gates]</c> of the gradients themselves.
    /// </summary>
    private Tensor Measure(
        SelectionRequest request,
        Gates gates,
        SequenceSampler sequences,
        ActivationCheckpointingPolicy checkpointing,
        int round,
        Tensor information,
        Stopwatch clock,
        CancellationToken cancellationToken)
    {
        Tensor sum = zeros_like(information);
        for (int i = 0; i < SequencesPerRound; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            int number = round * SequencesPerRound + i + 1;
            Tensor tokens = sequences.Batch(number - 1L);
            using var gradients = GateGradients.Compute(request.Model, gates.Values, gates.Order, [tokens], checkpointing,
                cancellationToken: cancellationToken);
            NumericalException.ThrowIfNotFinite(gradients.Gradient, request.Model.GateLayout, number,
                "a gate gradient of the Fisher scores");
            information.AddInPlace(gradients.Gradient.PowScalar(2));
            sum.AddInPlace(gradients.Gradient);
            request.Progress?.Report(new PruningProgress(PruningPhase.Measuring, number, Rounds * SequencesPerRound, clock.Elapsed));
        }

        return sum;
    }
}
