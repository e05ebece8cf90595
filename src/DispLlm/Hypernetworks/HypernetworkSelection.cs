using Microsoft.Extensions.Logging;

namespace DispLlm;

/// <summary>
/// The paper's strategy: a hypernetwork learns which features the frozen model can do without, and its logits are projected on the budget.
/// </summary>
public sealed record HypernetworkSelection : HypernetworkOptions, ISelectionStrategy
{
    /// <inheritdoc/>
    public string Name => "hypernetwork";

    /// <inheritdoc/>
    public bool NeedsCalibration => true;

    /// <inheritdoc/>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        Validate();
        request.EnsureReachable(Name);
        var model = request.Model;
        var random = model.Backend.Random(request.Seed);
        int length = WindowLength ?? Math.Min(2048, model.Spec.MaxPositions);
        var corpus = request.Calibration
            ?? throw new ArgumentException("The hypernetwork learns from text: give it a calibration corpus, or TokenCorpus.SampledFromModel.", nameof(request));
        int[] tokens = corpus.Resolve(CorpusContext.For(model), cancellationToken);
        var windows = new TokenWindows(tokens, length, BatchSize, random);
        request.Logger.LogInformation(
            "Learning {Gates:N0} gates in {Steps:N0} steps of {Windows} x {Length} tokens, from {Tokens:N0} tokens of text",
            model.GateLayout.Count,
            Steps,
            BatchSize * Accumulation,
            length,
            tokens.Length);

        using var trainer = new HypernetworkTrainer(model, request.Budget, this, request.Seed, request.NormOrder);
        var history = trainer.Run(windows, request.Progress, cancellationToken);
        var scores = trainer.Scores();
        var plan = request.Project(Name, scores);
        request.Logger.LogInformation(
            "Learned: last cross-entropy {CrossEntropy:F3}, budget loss {BudgetLoss:F4}", history[^1].CrossEntropy, history[^1].BudgetLoss);
        return new SelectionOutcome(plan, scores, history);
    }
}
