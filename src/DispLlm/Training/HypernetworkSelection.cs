using Microsoft.Extensions.Logging;

namespace DispLlm;

/// <summary>
/// The paper's strategy: a hypernetwork learns which features the frozen model can do without, and its logits are projected on the budget.
/// With its defaults it starts from Fisher scores and sharpens its draws, which reaches in tens of steps what the published settings need hundreds for
/// (docs/results.md).
/// </summary>
public sealed record HypernetworkSelection : HypernetworkOptions, ISelectionStrategy
{
    /// <summary>The settings of the paper: 10,000 steps from nothing, a constant learning rate of 1e-3, lambda 6, ReinMax.</summary>
    public static HypernetworkSelection Paper { get; } = new()
    {
        Steps = 10_000,
        LearningRate = 1e-3,
        MinLearningRateRatio = 1,
        ScaleLearningRate = 0,
        BudgetLossWeight = 6,
        FinalInverseTemperature = 1,
        InitialScoreWeight = 0,
    };

    /// <summary>
    /// What the authors' code does: soft gates at temperature 0.4, lambda 16, the hidden gate applied twice, a draw for each loss. Its final selection is
    /// projected on the budget as any other; the code itself draws once more.
    /// </summary>
    public static HypernetworkSelection ReferenceImplementation { get; } = Paper with
    {
        BudgetLossWeight = 16,
        Estimator = GateEstimator.GumbelSigmoid,
        Temperature = 0.4,
        ReferenceImplementationQuirks = true,
    };

    /// <summary>
    /// Where the logits start: a strategy that gives scores without learning. Default: <see cref="FisherSelection"/> in 4 rounds of 8 of this strategy's windows, which
    /// costs what 32 steps cost. Ignored where <see cref="HypernetworkOptions.InitialScoreWeight"/> is 0.
    /// </summary>
    public ISelectionStrategy? InitialScores { get; init; }

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
        int length = SequenceLength ?? CalibrationSampler.DefaultLength(model.Spec);
        int[] tokens = CalibrationSampler.Tokens(request, Name, cancellationToken);
        var windows = new SequenceSampler(tokens, length, BatchSize, random);
        request.Logger.LogInformation(
            "Learning {Gates:N0} gates in {Steps:N0} steps of {Windows} x {Length} tokens, from {Tokens:N0} tokens of text",
            model.GateLayout.Count,
            Steps,
            BatchSize * GradientAccumulationSteps,
            length,
            tokens.Length);

        using var folder = request.RunDirectory is { } kept ? RunStore.Open(kept, RunIdentity.Describe(request, this, tokens), request.Logger) : null;
        bool goesOn = folder?.HasState == true;
        var start = goesOn ? null : Start(request with { Calibration = TokenCorpus.FromTokens(tokens) }, length, cancellationToken);
        using var trainer = new HypernetworkTrainer(model, request.Budget, this, request.Seed, request.NormOrder, start);
        IReadOnlyList<SelectionProgress> before = [];
        if (goesOn)
        {
            before = folder!.Restore(trainer);
        }
        else
        {
            folder?.Begin(trainer);
        }

        var history = new TrainingLoop(trainer, Steps, folder, request.Progress, request.Logger).Run(windows, before, cancellationToken);
        var scores = trainer.Scores();
        var plan = request.Project(Name, scores, SharedStream) with { Scales = trainer.Scales() };
        if (history.Count > 0)
        {
            request.Logger.LogInformation(
                "Learned: last cross-entropy {CrossEntropy:F3}, budget loss {BudgetLoss:F4}", history[^1].CrossEntropy, history[^1].BudgetLoss);
        }

        return new SelectionOutcome(plan, scores, history) { SharedStream = SharedStream };
    }

    private SelectionScores? Start(SelectionRequest request, int length, CancellationToken cancellation)
    {
        if (InitialScoreWeight == 0)
        {
            return null;
        }

        var strategy = InitialScores ?? new FisherSelection { Rounds = 4, SequencesPerRound = 8, SequenceLength = length, ScaleStep = 0 };
        request.Logger.LogInformation("Starting from the scores of strategy {Strategy}", strategy.Name);
        return strategy.Select(request, cancellation).Scores;
    }
}
