using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>
/// Describes how a model is pruned, step by step. Immutable: each step returns a new description and checks its value, so a description can
/// be kept, run again and used from many threads.
/// </summary>
public sealed class PruningPipeline
{
    private readonly IPrunableModel _model;
    private PruningBudget? _budget;
    private TokenCorpus? _calibration;
    private ISelectionStrategy _strategy = new HypernetworkSelection();
    private int _widthMultiple = 1;
    private PruningLayout _layout;
    private BudgetConstraints _constraints = BudgetConstraints.None;
    private NormOrder _normOrder = NormOrder.NormThenSelect;
    private long _seed;
    private RunDirectory? _runDirectory;
    private ILogger _logger = NullLogger.Instance;
    private IProgress<PruningProgress>? _progress;

    private PruningPipeline(IPrunableModel model) => _model = model;

    /// <summary>
    /// Begins a description: <c>await PruningPipeline.For(model).WithPruningRatio(0.5).WithCalibration(corpus).RunAsync()</c>.
    /// </summary>
    /// <param name="model">The dense model. The caller keeps and disposes it; it is not changed.</param>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    public static PruningPipeline For(IPrunableModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        ModelAlreadyPrunedException.ThrowIfPruned(model);
        return new PruningPipeline(model);
    }

    /// <summary>How much is removed: 0.5 halves the block weights.</summary>
    /// <param name="ratio">Fraction of block weights to remove, from 0 to below 1.</param>
    /// <exception cref="BudgetException">Another number.</exception>
    public PruningPipeline WithPruningRatio(double ratio) => WithBudget(PruningBudget.FromRatio(ratio));

    /// <summary>How much may be kept, by ratio, keep fraction or count, over blocks or the whole model.</summary>
    /// <param name="budget">The budget. <see cref="RunAsync"/> refuses one that no selection of this model can meet.</param>
    public PruningPipeline WithBudget(PruningBudget budget)
    {
        ArgumentNullException.ThrowIfNull(budget);
        return With(pipeline => pipeline._budget = budget);
    }

    /// <summary>The text that the selection is learned on. Never the text that the result is evaluated on.</summary>
    /// <param name="corpus">The text; <see cref="TokenCorpus.GeneratedByModel"/> where there is none.</param>
    public PruningPipeline WithCalibration(TokenCorpus corpus)
    {
        ArgumentNullException.ThrowIfNull(corpus);
        return With(pipeline => pipeline._calibration = corpus);
    }

    /// <summary>How it is decided what is kept. Default: <see cref="HypernetworkSelection"/> with its own defaults.</summary>
    /// <param name="strategy">The strategy.</param>
    public PruningPipeline WithStrategy(ISelectionStrategy strategy)
    {
        ArgumentNullException.ThrowIfNull(strategy);
        return With(pipeline => pipeline._strategy = strategy);
    }

    /// <summary>Which sites may be cut, and which select alike. Default: the paper's five sites, each by itself.</summary>
    /// <param name="layout">The layout; <see cref="PruningLayout.Blocks"/> needs no index operation.</param>
    /// <exception cref="SelectionException">No such layout.</exception>
    public PruningPipeline WithLayout(PruningLayout layout)
    {
        layout.Checked();
        return With(pipeline => pipeline._layout = layout);
    }

    /// <summary>Makes every width a multiple of a number that suits the hardware, or leaves it uncut. Default 1.</summary>
    /// <param name="multiple">At least 1; 8 to 128 are common.</param>
    /// <exception cref="ArgumentOutOfRangeException">Below 1.</exception>
    public PruningPipeline WithWidthMultiple(int multiple)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(multiple, 1);
        return With(pipeline => pipeline._widthMultiple = multiple);
    }

    /// <summary>Keeps blocks whole: <c>WithExcludedBlocks(0, ^1)</c> leaves the first and the last alone.</summary>
    /// <param name="blocks">The blocks, counted from the first, or from the last as in <c>^1</c>.</param>
    public PruningPipeline WithExcludedBlocks(params IReadOnlyList<Index> blocks) =>
        WithConstraints(_constraints with { ExcludedBlocks = blocks });

    /// <summary>Keeps sites whole in every block.</summary>
    /// <param name="sites">The sites.</param>
    public PruningPipeline WithExcludedSites(params IReadOnlyList<SelectionSite> sites) =>
        WithConstraints(_constraints with { ExcludedSites = sites });

    /// <summary>Keeps some key-value groups in every block, for runtimes that cannot read a block without attention. Default 0.</summary>
    /// <param name="groups">At least 0; all where a block has fewer.</param>
    /// <exception cref="BudgetException">Below 0.</exception>
    public PruningPipeline WithMinAttentionGroups(int groups) => WithConstraints(_constraints with { MinAttentionGroups = groups });

    /// <summary>Limits how much of any block is removed.</summary>
    /// <param name="ratio">The largest fraction of a block's parameters, in the budget's scope, that may be removed.</param>
    /// <exception cref="BudgetException">A ratio outside of 0 to 1.</exception>
    public PruningPipeline WithMaxBlockRatio(double ratio) => WithConstraints(_constraints with { MaxBlockRatio = ratio });

    /// <summary>Limits how much of single blocks is removed.</summary>
    /// <param name="ratios">The largest fraction of a block's parameters that may be removed, by the block's index from 0.</param>
    /// <exception cref="BudgetException">A ratio outside of 0 to 1.</exception>
    public PruningPipeline WithMaxBlockRatios(IReadOnlyDictionary<int, double> ratios) =>
        WithConstraints(_constraints with { MaxBlockRatios = ratios });

    /// <summary>Leaves alone what constraints say. They replace those given before.</summary>
    /// <param name="constraints">The constraints.</param>
    public PruningPipeline WithConstraints(BudgetConstraints constraints)
    {
        ArgumentNullException.ThrowIfNull(constraints);
        return With(pipeline => pipeline._constraints = constraints);
    }

    /// <summary>Norm or selection first, while learning and after. Default <see cref="NormOrder.NormThenSelect"/>.</summary>
    /// <param name="order">The order. A layout with one stream leaves <see cref="NormOrder.SelectThenNorm"/> only, and it is taken.</param>
    public PruningPipeline WithNormOrder(NormOrder order) => With(pipeline => pipeline._normOrder = order);

    /// <summary>The seed of every random number of the run. Default 0.</summary>
    /// <param name="seed">The seed.</param>
    public PruningPipeline WithSeed(long seed) => With(pipeline => pipeline._seed = seed);

    /// <summary>
    /// Where the run keeps what it has done: text that it sampled, each measured sequence, the learned state every 25 steps, and a log.
    /// Stopped at any moment and run again, it resumes and ends with the same plan, byte for byte, on the same machine.
    /// </summary>
    /// <param name="folder">
    /// A folder for this run alone; it is created where there is none. <c>steps.jsonl</c> in it has a line per step.
    /// </param>
    public PruningPipeline WithRunDirectory(string folder) => WithRunDirectory(folder, 25);

    /// <summary>The same, with another number of steps between two saves.</summary>
    /// <param name="folder">A folder for this run alone; it is created where there is none.</param>
    /// <param name="everySteps">Steps between two saves.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="everySteps"/> is below 1.</exception>
    public PruningPipeline WithRunDirectory(string folder, int everySteps)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(folder);
        ArgumentOutOfRangeException.ThrowIfLessThan(everySteps, 1);
        return WithRunDirectory(new RunDirectory(folder) { EverySteps = everySteps });
    }

    internal PruningPipeline WithRunDirectory(RunDirectory directory) => With(pipeline => pipeline._runDirectory = directory);

    /// <summary>Where every measured sequence and every learning step is reported to, on the thread that computes it.</summary>
    /// <param name="progress">The receiver.</param>
    public PruningPipeline WithProgress(IProgress<PruningProgress> progress)
    {
        ArgumentNullException.ThrowIfNull(progress);
        return With(pipeline => pipeline._progress = progress);
    }

    /// <summary>Where the run is logged.</summary>
    /// <param name="logger">The logger.</param>
    public PruningPipeline WithLogger(ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(logger);
        return With(pipeline => pipeline._logger = logger);
    }

    /// <summary>
    /// Decides what is kept, off the caller's thread. Nothing is written yet: the result holds the plan, and saves the pruned checkpoint.
    /// Every error is the task's.
    /// </summary>
    /// <param name="cancellationToken">Stops at the next step; nothing native is left.</param>
    /// <exception cref="InvalidOperationException">There is no budget, or no text for a strategy that needs one.</exception>
    /// <exception cref="BudgetException">The budget cannot be met by this model; raised before any work.</exception>
    /// <exception cref="NumericalException">A NaN or an infinity while learning.</exception>
    /// <exception cref="CheckpointException">
    /// The folder of <see cref="WithRunDirectory(string)"/> cannot be written, is used by another run, or holds the state of a run with
    /// another model, text or settings.
    /// </exception>
    public async Task<PruningResult> RunAsync(CancellationToken cancellationToken = default)
    {
        var request = new SelectionRequest
        {
            Model = _model,
            Budget = _budget ?? throw new InvalidOperationException(
                $"There is no budget: give one with {nameof(WithPruningRatio)} or {nameof(WithBudget)}."),
            Calibration = _calibration,
            WidthMultiple = _widthMultiple,
            Layout = _layout,
            Constraints = _constraints,
            NormOrder = _normOrder,
            Seed = _seed,
            RunDirectory = _runDirectory,
            Progress = _progress,
            Logger = _logger,
        };
        if (_strategy.NeedsCalibration && _calibration is null)
        {
            throw new InvalidOperationException(
                $"The {_strategy.Name} strategy needs text: give it some with {nameof(WithCalibration)}; "
                    + $"{nameof(TokenCorpus)}.{nameof(TokenCorpus.GeneratedByModel)}() needs no data.");
        }

        request.EnsureReachable(_strategy.Name);
        var outcome = await _strategy.SelectAsync(request, cancellationToken).ConfigureAwait(false);
        outcome.Plan.Validate(_model.Spec);
        return new PruningResult(request, _strategy, outcome);
    }

    private PruningPipeline With(Action<PruningPipeline> change)
    {
        var copy = (PruningPipeline)MemberwiseClone();
        change(copy);
        return copy;
    }
}
