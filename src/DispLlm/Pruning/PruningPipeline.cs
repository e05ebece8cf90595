using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>
/// A description of a pruning, made step by step. It is immutable: each step returns a new description and every value is checked when it
/// is given, so a description can be kept, shared and run again.
/// </summary>
public sealed class PruningPipeline
{
    private readonly IPrunableModel _model;
    private PruningBudget? _budget;
    private TokenCorpus? _calibration;
    private ISelectionStrategy _strategy = new HypernetworkSelection();
    private int _widthMultiple = 1;
    private NormOrder _normOrder = NormOrder.NormThenSelect;
    private long _seed;
    private RunDirectory? _checkpoint;
    private ILogger _logger = NullLogger.Instance;
    private IProgress<SelectionProgress>? _progress;
    private IProgress<MeasuringProgress>? _measuring;

    private PruningPipeline(IPrunableModel model) => _model = model;

    /// <summary>Begins to describe how a model is pruned: <c>await PruningPipeline.For(model).WithPruningRatio(0.5).WithCalibration(corpus).RunAsync()</c>.</summary>
    /// <param name="model">The dense model. It stays the caller's, and is not changed.</param>
    /// <exception cref="InvalidOperationException">The model is pruned already.</exception>
    public static PruningPipeline For(IPrunableModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return model.Plan is null
            ? new PruningPipeline(model)
            : throw new InvalidOperationException($"The model in '{model.Folder}' is pruned already: load the dense checkpoint it was pruned from.");
    }

    /// <summary>How much goes: 0.5 halves the block weights.</summary>
    /// <param name="ratio">Fraction of block weights to remove, from 0 to below 1.</param>
    /// <exception cref="BudgetException">Another number.</exception>
    public PruningPipeline WithPruningRatio(double ratio) => WithBudget(PruningBudget.FromRatio(ratio));

    /// <summary>How much may stay, by ratio, keep fraction or count, over blocks or the whole model.</summary>
    /// <param name="budget">The budget. <see cref="RunAsync"/> refuses one that no selection of this model can meet.</param>
    public PruningPipeline WithBudget(PruningBudget budget)
    {
        ArgumentNullException.ThrowIfNull(budget);
        return With(pipeline => pipeline._budget = budget);
    }

    /// <summary>The text that the selection is learned on. Never the text that the result is judged by.</summary>
    /// <param name="corpus">The text; <see cref="TokenCorpus.GeneratedByModel"/> where there is none.</param>
    public PruningPipeline WithCalibration(TokenCorpus corpus)
    {
        ArgumentNullException.ThrowIfNull(corpus);
        return With(pipeline => pipeline._calibration = corpus);
    }

    /// <summary>How it is decided what stays. Default: <see cref="HypernetworkSelection"/> with its own defaults.</summary>
    /// <param name="strategy">The strategy.</param>
    public PruningPipeline WithStrategy(ISelectionStrategy strategy)
    {
        ArgumentNullException.ThrowIfNull(strategy);
        return With(pipeline => pipeline._strategy = strategy);
    }

    /// <summary>Makes every width a multiple of a number that hardware likes, or leaves it uncut. Default 1.</summary>
    /// <param name="multiple">At least 1; 8 to 128 are common.</param>
    /// <exception cref="ArgumentOutOfRangeException">Below 1.</exception>
    public PruningPipeline WithWidthMultiple(int multiple)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(multiple, 1);
        return With(pipeline => pipeline._widthMultiple = multiple);
    }

    /// <summary>Norm or selection first, while learning and after. Default <see cref="NormOrder.NormThenSelect"/>.</summary>
    /// <param name="order">The order.</param>
    public PruningPipeline WithNormOrder(NormOrder order) => With(pipeline => pipeline._normOrder = order);

    /// <summary>The seed of every random number of the run. Default 0.</summary>
    /// <param name="seed">The seed.</param>
    public PruningPipeline WithSeed(long seed) => With(pipeline => pipeline._seed = seed);

    /// <summary>
    /// Where the run keeps its state and its log. Stopped at any moment and run again as it was, it goes on and ends with the same plan, byte for byte, on the same machine.
    /// </summary>
    /// <param name="folder">A folder for this run alone; it is made where there is none. <c>steps.jsonl</c> in it has a line a step.</param>
    /// <param name="everySteps">Steps between two saves. Default 25.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="everySteps"/> is below 1.</exception>
    public PruningPipeline WithRunDirectory(string folder, int everySteps = 25)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        ArgumentOutOfRangeException.ThrowIfLessThan(everySteps, 1);
        return With(pipeline => pipeline._checkpoint = new RunDirectory(folder) { EverySteps = everySteps });
    }

    /// <summary>Who is told of every learning step.</summary>
    /// <param name="progress">The listener.</param>
    public PruningPipeline WithProgress(IProgress<SelectionProgress> progress)
    {
        ArgumentNullException.ThrowIfNull(progress);
        return With(pipeline => pipeline._progress = progress);
    }

    /// <summary>Who is told of every window that is measured without learning: all of Fisher scores, and what learning starts from.</summary>
    /// <param name="progress">The listener.</param>
    public PruningPipeline WithProgress(IProgress<MeasuringProgress> progress)
    {
        ArgumentNullException.ThrowIfNull(progress);
        return With(pipeline => pipeline._measuring = progress);
    }

    /// <summary>Who is told of what matters.</summary>
    /// <param name="logger">The listener.</param>
    public PruningPipeline WithLogger(ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(logger);
        return With(pipeline => pipeline._logger = logger);
    }

    /// <summary>Decides what stays. Nothing is written yet: the result holds the plan, and saves the pruned checkpoint.</summary>
    /// <param name="cancellationToken">Stops at the next step; nothing native is left behind.</param>
    /// <exception cref="InvalidOperationException">There is no budget, or no text for a strategy that needs one.</exception>
    /// <exception cref="BudgetException">The budget cannot be met by this model; raised before any work.</exception>
    /// <exception cref="NumericalException">A NaN or an infinity while learning.</exception>
    /// <exception cref="CheckpointException">
    /// The folder of <see cref="WithRunDirectory"/> cannot be written, is another run's at this moment, or holds the state of a run with another model, text or settings.
    /// </exception>
    public Task<PruningResult> RunAsync(CancellationToken cancellationToken = default)
    {
        var request = new SelectionRequest
        {
            Model = _model,
            Budget = _budget ?? throw new InvalidOperationException("How much is to go? Say it with ToRatio or ToBudget."),
            Calibration = _calibration,
            WidthMultiple = _widthMultiple,
            NormOrder = _normOrder,
            Seed = _seed,
            RunDirectory = _checkpoint,
            Progress = _progress,
            Measuring = _measuring,
            Logger = _logger,
        };
        if (_strategy.NeedsCalibration && _calibration is null)
        {
            throw new InvalidOperationException(
                $"The {_strategy.Name} strategy learns from text. Give it some with CalibratedOn; TokenCorpus.SampledFromModel() needs no data.");
        }

        request.EnsureReachable(_strategy.Name);
        return Task.Run(
            () =>
            {
                var outcome = _strategy.Select(request, cancellationToken);
                outcome.Plan.Validate(_model.Spec);
                return new PruningResult(request, _strategy, outcome);
            },
            cancellationToken);
    }

    private PruningPipeline With(Action<PruningPipeline> change)
    {
        var copy = (PruningPipeline)MemberwiseClone();
        change(copy);
        return copy;
    }
}
