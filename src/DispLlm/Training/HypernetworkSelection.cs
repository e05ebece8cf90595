using Microsoft.Extensions.Logging;

namespace DispLlm;

/// <summary>
/// The paper's strategy: a hypernetwork learns which features the frozen model can do without, and its logits are projected onto the
/// budget. With its defaults it starts from Fisher scores and lowers the temperature of its samples, which reaches in tens of steps what
/// the published settings need hundreds for (docs/results.md). Immutable, so it can be used from many threads.
/// </summary>
/// <param name="Options">How the selection is learned. The same options serve <see cref="HypernetworkTrainer"/>.</param>
public sealed record HypernetworkSelection(HypernetworkOptions Options) : ScoreStrategy
{
    /// <summary>Learns with the default options.</summary>
    public HypernetworkSelection()
        : this(new HypernetworkOptions())
    {
    }

    /// <summary>The settings of the paper: 10,000 steps from nothing, a constant learning rate of 1e-3, lambda 6, ReinMax.</summary>
    public static HypernetworkSelection Paper { get; } = new(new HypernetworkOptions
    {
        Steps = 10_000,
        LearningRate = 1e-3,
        MinLearningRateRatio = 1,
        ScaleLearningRate = 0,
        BudgetLossWeight = 6,
        FinalInverseTemperature = 1,
        GroupInverseTemperature = 1,
        InitialScoreWeight = 0,
    });

    /// <summary>
    /// What the authors' code does: soft gates at temperature 0.4, lambda 16, the hidden gate applied twice, a sample for each loss. Its
    /// final selection is projected onto the budget as any other; the code itself samples once more.
    /// </summary>
    public static HypernetworkSelection ReferenceImplementation { get; } = new(Paper.Options with
    {
        BudgetLossWeight = 16,
        Estimator = GateEstimator.GumbelSigmoid,
        Temperature = 0.4,
    })
    {
        Ablations = new HypernetworkAblations { ReferenceImplementationQuirks = true },
    };

    /// <inheritdoc/>
    public override string Name => "hypernetwork";

    /// <inheritdoc/>
    public override bool NeedsCalibration => true;

    /// <summary><see cref="HypernetworkOptions.Steps"/> of <see cref="Options"/>.</summary>
    public int Steps
    {
        get => Options.Steps;
        init => Options = Options with { Steps = value };
    }

    /// <summary><see cref="HypernetworkOptions.BatchSize"/> of <see cref="Options"/>.</summary>
    public int BatchSize
    {
        get => Options.BatchSize;
        init => Options = Options with { BatchSize = value };
    }

    /// <summary><see cref="HypernetworkOptions.SequenceLength"/> of <see cref="Options"/>.</summary>
    public int? SequenceLength
    {
        get => Options.SequenceLength;
        init => Options = Options with { SequenceLength = value };
    }

    /// <summary>
    /// Where the logits start: a strategy whose scores need no learning. Default: <see cref="FisherSelection"/> in 4 rounds of 8 of this
    /// strategy's sequences, which costs what 32 steps cost. Ignored where <see cref="HypernetworkOptions.InitialScoreWeight"/> is 0.
    /// </summary>
    public ScoreStrategy? InitialScores { get; init; }

    /// <summary>Departures from the method, for comparison. Default: none.</summary>
    public HypernetworkAblations Ablations { get; init; } = new();

    /// <inheritdoc/>
    /// <remarks>What only trades memory for time is no setting: it changes no number.</remarks>
    public override IReadOnlyDictionary<string, string> Settings
    {
        get
        {
            var settings = new StrategySettings()
                .With(Options.Steps)
                .With(Options.LearningRate)
                .With(Options.MinLearningRateRatio)
                .With(Options.WeightDecay)
                .With(Options.ScaleLearningRate)
                .With(Options.BudgetLossWeight)
                .With(Options.InitialLogitBias)
                .With(Options.Estimator)
                .With(Options.Temperature)
                .With(Options.FinalInverseTemperature)
                .With(Options.GroupInverseTemperature)
                .With(Options.InitialScoreWeight)
                .With(Options.DistillationWeight)
                .With(Options.BudgetWarmupFraction)
                .With(Ablations.Kind)
                .With(Ablations.ReferenceImplementationQuirks)
                .With(Options.BatchSize)
                .With(Options.GradientAccumulationSteps)
                .With(Options.SequenceLength);
            return InitialScores is null ? settings : settings.With(InitialScores, nameof(InitialScores));
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    protected override void Validate()
    {
        Options.Validate();
        Ablations.Validate(Options);
    }

    /// <inheritdoc/>
    protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var model = request.Model;
        int length = SequenceLength ?? CalibrationSampler.DefaultLength(model.Spec);
        int[] tokens = CalibrationSampler.Tokens(request, Name, cancellationToken);
        var sequences = new SequenceSampler(tokens, length, BatchSize, model.Backend.Random(request.Seed));
        request.Logger.LogInformation(
            "Learning {Gates:N0} gates in {Steps:N0} steps of {Sequences} x {Length} tokens, from {Tokens:N0} tokens of text",
            model.GateLayout.Count,
            Steps,
            BatchSize * Options.GradientAccumulationSteps,
            length,
            tokens.Length);

        request = request with { ModelIdentity = request.RunDirectory is null ? null : ModelIdentity.Describe(model) };
        using var store = request.RunDirectory is { } directory
            ? RunStore.Open(directory, RunIdentity.Describe(request, this, tokens), request.Logger) : null;
        bool resumes = store?.HasState == true;
        var start =
            resumes ? null : InitialLogits(request with { Calibration = TokenCorpus.FromTokens(tokens) }, length, cancellationToken);
        using var trainer =
            new HypernetworkTrainer(
                model, request.Budget, Options, Ablations, request.Constraints, request.Layout, request.Seed, request.NormOrder, start);
        IReadOnlyList<PruningProgress> before = [];
        if (resumes)
        {
            before = store!.Restore(trainer);
        }
        else
        {
            store?.Begin(trainer);
        }

        var history = new TrainingLoop(trainer, Steps, store, request.Progress, request.Logger).Run(sequences, before, cancellationToken);
        if (history.Count > 0)
        {
            request.Logger.LogInformation(
                "Learned: last cross-entropy {CrossEntropy:F3}, budget loss {BudgetLoss:F4}", history[^1].CrossEntropy,
                history[^1].BudgetLoss);
        }

        return new ScoreResult(trainer.Scores()) { Scales = trainer.Scales(), History = history };
    }

    private SelectionScores? InitialLogits(SelectionRequest request, int length, CancellationToken cancellationToken)
    {
        if (Options.InitialScoreWeight == 0)
        {
            return null;
        }

        var strategy = InitialScores ?? new FisherSelection { Rounds = 4, SequencesPerRound = 8, SequenceLength = length, ScaleStep = 0 };
        request.Logger.LogInformation("Starting from the scores of strategy {Strategy}", strategy.Name);
        return strategy.Score(request, cancellationToken);
    }
}
