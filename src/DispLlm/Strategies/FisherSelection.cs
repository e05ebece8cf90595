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
    public int WindowsPerRound { get; init; } = 16;

    /// <summary>How much of the earlier rounds' sums stays in each round's. Default 0.5; from 0 to 1.</summary>
    public double Memory { get; init; } = 0.5;

    /// <summary>
    /// How far gains of open gates step down the loss in each round, in closed form from the gradients that are measured anyway (method): at most by this much a round. Default
    /// 0.05; 0 leaves all gains at 1, and so does a single round. From 0 to 1. A strategy that only starts from these scores takes no gains over.
    /// </summary>
    public double GainStep { get; init; } = 0.05;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfLessThan(Rounds, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(WindowsPerRound, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(WindowLength ?? 2, 2, nameof(WindowLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(Memory, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Memory, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(GainStep, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(GainStep, 1);

        request.EnsureReachable(Name);
        var model = request.Model;
        var windows = CalibrationWindows.Of(request, Name, WindowLength, cancellationToken);
        var counter = new ParameterCounter(model.Spec);
        long dense = counter.Dense[request.Budget.Scope], target = request.Budget.TargetFor(counter);
        var plan = SelectionPlan.Dense(model.Spec);
        SelectionScores? scores = null;
        using var scope = NewDisposeScope();
        Tensor information = zeros(model.GateLayout.Count, device: model.Backend.Device);

        // A single round sees no gate closed: there is nothing yet that gains could make up for.
        using var gains = GainStep > 0 && Rounds > 1 ? new MeasuredGains(model.GateLayout, request.NormOrder, model.Backend.Device, GainStep) : null;
        var kept = new ActivationChoice(ActivationMemory.Automatic, model);
        double weight = 0;
        var clock = Stopwatch.StartNew();
        for (int round = 0; round < Rounds; round++)
        {
            using var step = NewDisposeScope();
            information.TimesInPlace(Memory);
            weight = weight * Memory + WindowsPerRound;
            Tensor open = Gates.Of(plan, model.Backend).Values;
            using var gates = new Gates(gains is null ? open : open * gains.Values, request.NormOrder);
            Tensor slope = Measure(request, gates, windows, kept, round, information, clock, cancellationToken);
            gains?.Step(open, slope.Over(WindowsPerRound), information.Times((windows.WindowLength - 1) / weight));
            using var host = information.cpu();
            scores = GateScores.PerParameter(model.GateLayout, host.data<float>().ToArray(), plan, request.Budget.Scope);
            long allowed = dense - (long)((double)(dense - target) * (round + 1) / Rounds);
            plan = round == Rounds - 1
                ? request.Project(Name, scores)
                : (request with { Budget = PruningBudget.FromParameters(allowed) with { Scope = request.Budget.Scope } }).Project(Name, scores);
        }

        return new SelectionOutcome(plan with { Gains = gains?.Found(model.GateLayout) }, scores!, []);
    }

    /// <summary>Adds the squares of a round's gradients to the information, and returns the sum <c>[gates]</c> of the gradients themselves.</summary>
    private Tensor Measure(
        SelectionRequest request, Gates gates, TokenWindows windows, ActivationChoice kept, int round, Tensor information, Stopwatch clock, CancellationToken cancellation)
    {
        Tensor slope = zeros_like(information);
        for (int i = 0; i < WindowsPerRound; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor window = windows.Batch((long)round * WindowsPerRound + i);
            using var gradients = GateGradients.Of(request.Model, gates.Values, gates.Order, [window], kept, cancellationToken: cancellation);
            NumericalException.ThrowIfNotFinite(gradients.Gradient, request.Model.GateLayout, round * WindowsPerRound + i + 1, "a gate gradient of the Fisher scores");
            information.PlusInPlace(gradients.Gradient.Power(2));
            slope.PlusInPlace(gradients.Gradient);
            request.Measuring?.Report(new MeasuringProgress(round * WindowsPerRound + i + 1, Rounds * WindowsPerRound, clock.Elapsed));
        }

        return slope;
    }
}
