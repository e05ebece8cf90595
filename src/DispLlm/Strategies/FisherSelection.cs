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
        int[] tokens = CalibrationSampler.Tokens(request, Name, cancellationToken);
        var sequences = CalibrationSampler.Create(request, tokens, SequenceLength);
        using var scope = NewDisposeScope();
        Tensor Zeros() => zeros(model.GateLayout.Count, device: model.Backend.Device);
        Tensor information = Zeros(), sum = Zeros(), scores = Zeros();

        // A single round closes no gate: there is nothing yet that scales could make up for.
        using var scales =
            ScaleStep > 0 && Rounds > 1
                ? new MeasuredScales(model.GateLayout, request.Order, request.Layout, model.Backend.Device, ScaleStep) : null;
        using var learned = new LearnedGates(model.GateLayout, request.Layout, model.Backend.Device);
        var measurement = new Measurement(request, this, tokens, Rounds * SequencesPerRound,
            [("information", information), ("sum", sum), ("scores", scores), .. scales is null ? [] : new[] { ("scales", scales.Values) }]);
        var checkpointing = new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model);
        for (int round = measurement.Done / SequencesPerRound; round < Rounds; round++)
        {
            using var step = NewDisposeScope();
            if (measurement.Done % SequencesPerRound == 0)
            {
                information.MulScalarInPlace(Momentum);
                sum.zero_();
            }

            var plan = round == 0
                ? SelectionPlan.Dense(model.Spec, request.Layout) : Plan(request, Scores(model.GateLayout, scores), round);
            Tensor open = Gates.FromPlan(plan, model.Backend).Values;
            using var gates = new Gates(scales is null ? open : open * scales.Values, request.Order) { Layout = request.Layout };
            for (int last = (round + 1) * SequencesPerRound; measurement.Done < last; measurement.Advance())
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var sequence = NewDisposeScope();
                Tensor gradient = Gradient(request, gates, sequences, measurement.Done, checkpointing, cancellationToken);
                Tensor shared = learned.Sum(gradient);
                information.AddInPlace(shared.PowScalar(2));
                sum.AddInPlace(shared);
                if (measurement.Done + 1 == last)
                {
                    double weight = Enumerable.Range(0, round + 1).Aggregate(0.0, (before, _) => before * Momentum + SequencesPerRound);
                    scales?.Step(open, sum.DivScalar(SequencesPerRound), information.MulScalar((sequences.SequenceLength - 1) / weight));
                    float[] measured = information.cpu().data<float>().ToArray();
                    var perParameter = GateScores.PerParameter(model.GateLayout, measured, plan, request.Budget.Scope);
                    scores.copy_(tensor(perParameter.Values.ToArray()));
                }
            }
        }

        return new ScoreResult(Scores(model.GateLayout, scores)) { Scales = scales?.Found(model.GateLayout) };
    }

    /// <summary>What is kept in a round after the first, by the scores of the round before.</summary>
    private SelectionPlan Plan(SelectionRequest request, SelectionScores scores, int round)
    {
        var counter = new ParameterCounter(request.Model.Spec);
        long dense = counter.Dense[request.Budget.Scope], target = request.Budget.TargetFor(counter);
        long allowed = dense - (long)((double)(dense - target) * round / Rounds);
        return (request with { Budget = PruningBudget.FromParameters(allowed) with { Scope = request.Budget.Scope } })
            .Project(Name, scores);
    }

    private static SelectionScores Scores(GateLayout layout, Tensor scores)
    {
        using var host = scores.cpu();
        return new SelectionScores(layout, host.data<float>().ToArray());
    }

    /// <summary>The gradient <c>[gates]</c> of a sequence, by its number from 0.</summary>
    private static Tensor Gradient(
        SelectionRequest request,
        Gates gates,
        SequenceSampler sequences,
        int number,
        ActivationCheckpointingPolicy checkpointing,
        CancellationToken cancellationToken)
    {
        var gradients = GateGradients.Compute(
            request.Model, gates, [sequences.Batch(number)], checkpointing, 0, cancellationToken);
        NumericalException.ThrowIfNotFinite(gradients.Gradient, request.Model.GateLayout, number + 1,
            "a gate gradient of the Fisher scores");
        return gradients.Gradient;
    }
}
