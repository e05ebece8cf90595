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
        FinalLearningRate = 1,
        GainLearningRate = 0,
        BudgetWeight = 6,
        FinalSharpness = 1,
        StartingWeight = 0,
    };

    /// <summary>
    /// What the authors' code does: soft gates at temperature 0.4, lambda 16, the hidden gate applied twice, a draw for each loss. Its final selection is
    /// projected on the budget as any other; the code itself draws once more.
    /// </summary>
    public static HypernetworkSelection Released { get; } = Paper with
    {
        BudgetWeight = 16,
        Estimator = GateEstimator.GumbelSigmoid,
        Temperature = 0.4,
        AsReleased = true,
    };

    /// <summary>
    /// Where the logits start: a strategy that gives scores without learning. Default: <see cref="FisherSelection"/> in 4 rounds of 8 of this strategy's windows, which
    /// costs what 32 steps cost. Ignored where <see cref="HypernetworkOptions.StartingWeight"/> is 0.
    /// </summary>
    public ISelectionStrategy? StartingFrom { get; init; }

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
        int length = WindowLength ?? CalibrationWindows.DefaultLength(model.Spec);
        int[] tokens = CalibrationWindows.Tokens(request, Name, cancellationToken);
        var windows = new TokenWindows(tokens, length, BatchSize, random);
        request.Logger.LogInformation(
            "Learning {Gates:N0} gates in {Steps:N0} steps of {Windows} x {Length} tokens, from {Tokens:N0} tokens of text",
            model.GateLayout.Count,
            Steps,
            BatchSize * Accumulation,
            length,
            tokens.Length);

        using var folder = request.Checkpoint is { } kept ? RunFolder.Open(kept, RunIdentity.Of(request, this, tokens), request.Logger) : null;
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

        var history = new LearningRun(trainer, Steps, folder, request.Progress, request.Logger).Go(windows, before, cancellationToken);
        var scores = trainer.Scores();
        var plan = request.Project(Name, scores, SharedStream) with { Gains = trainer.Gains() };
        if (history.Count > 0)
        {
            request.Logger.LogInformation(
                "Learned: last cross-entropy {CrossEntropy:F3}, budget loss {BudgetLoss:F4}", history[^1].CrossEntropy, history[^1].BudgetLoss);
        }

        return new SelectionOutcome(plan, scores, history) { SharedStream = SharedStream };
    }

    private SelectionScores? Start(SelectionRequest request, int length, CancellationToken cancellation)
    {
        if (StartingWeight == 0)
        {
            return null;
        }

        var strategy = StartingFrom ?? new FisherSelection { Rounds = 4, WindowsPerRound = 8, WindowLength = length, GainStep = 0 };
        request.Logger.LogInformation("Starting from the scores of strategy {Strategy}", strategy.Name);
        return strategy.Select(request, cancellation).Scores;
    }
}
