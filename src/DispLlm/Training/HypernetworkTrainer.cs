using Microsoft.Extensions.Logging.Abstractions;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Learns a selection: <c>min over the hypernetwork of L(next token; frozen weights, gates s) + lambda R(T(s), p T_total)</c> (DISP-LLM,
/// Eq. 6; docs/method.md, Objective). The model's half of a step (<see cref="GateGradients"/>) turns gates into the gradient of the loss
/// with respect to each gate; the hypernetwork's half takes that gradient to its weights. The same gradient teaches the scales of open
/// gates, where <see cref="HypernetworkOptions.ScaleLearningRate"/> is above 0. Not thread-safe.
/// </summary>
public sealed class HypernetworkTrainer : IDisposable
{
    private const string StartName = "start";

    private readonly IPrunableModel _model;
    private readonly HypernetworkOptions _options;
    private readonly NormOrder _normOrder;
    private readonly BudgetRegularizer _budget;
    private readonly AdamW _optimizer;
    private readonly ActivationCheckpointingPolicy _checkpointing;
    private readonly PruningLayout _layout;
    private readonly LearnedGates _learned;
    private readonly StepSampler _sampler;
    private readonly ScaleLearning? _scales;
    private readonly Tensor _siteOf;       // [gates], int64: the index of each gate's site
    private Tensor? _start;                // [gates]: what the logits start from
    private int _step;

    /// <summary>Creates a trainer with a fresh hypernetwork, which starts from nothing.</summary>
    /// <param name="model">The dense model; its weights never change. The caller disposes it.</param>
    /// <param name="budget">What may be kept.</param>
    /// <param name="options">How to learn.</param>
    /// <param name="seed">Seed of the hypernetwork's weights and of every sample. Default 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    public HypernetworkTrainer(IPrunableModel model, PruningBudget budget, HypernetworkOptions options, long seed = 0)
        : this(model, budget, options, seed, NormOrder.NormThenSelect, null)
    {
    }

    /// <summary>Creates a trainer with a fresh hypernetwork.</summary>
    /// <param name="model">The dense model; its weights never change. The caller disposes it.</param>
    /// <param name="budget">What may be kept.</param>
    /// <param name="options">How to learn.</param>
    /// <param name="seed">Seed of the hypernetwork's weights and of every sample.</param>
    /// <param name="normOrder">Norm or selection first; the pruned model has to use the same.</param>
    /// <param name="start">
    /// Scores that the logits start from, standardized, times <see cref="HypernetworkOptions.InitialScoreWeight"/>; null to start from
    /// nothing.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    public HypernetworkTrainer(IPrunableModel model, PruningBudget budget, HypernetworkOptions options, long seed, NormOrder normOrder,
        SelectionScores? start)
        : this(model, budget, options, PruningLayout.Paper, seed, normOrder, start)
    {
    }

    /// <summary>Creates a trainer with a fresh hypernetwork for a layout.</summary>
    /// <param name="model">The dense model; its weights never change. The caller disposes it.</param>
    /// <param name="budget">What may be kept.</param>
    /// <param name="options">How to learn.</param>
    /// <param name="layout">Which sites select, and which alike: only their gates are learned.</param>
    /// <param name="seed">Seed of the hypernetwork's weights and of every sample.</param>
    /// <param name="normOrder">
    /// Norm or selection first; the pruned model has to use the same. With one stream it is <see cref="NormOrder.SelectThenNorm"/>.
    /// </param>
    /// <param name="start">Scores that the logits start from; null to start from nothing.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    /// <exception cref="SelectionException">No such layout.</exception>
    public HypernetworkTrainer(
        IPrunableModel model, PruningBudget budget, HypernetworkOptions options, PruningLayout layout, long seed, NormOrder normOrder,
        SelectionScores? start)
        : this(model, budget, options, new HypernetworkAblations(), BudgetConstraints.None, layout.Checked(), seed, normOrder, start)
    {
    }

    internal HypernetworkTrainer(
        IPrunableModel model,
        PruningBudget budget,
        HypernetworkOptions options,
        HypernetworkAblations ablations,
        BudgetConstraints constraints,
        PruningLayout pruning,
        long seed,
        NormOrder normOrder,
        SelectionScores? start)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(budget);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        ablations.Validate(options);
        ModelAlreadyPrunedException.ThrowIfPruned(model);
        var (layout, device, random) = (model.GateLayout, model.Backend.Device, model.Backend.Random(seed));
        _model = model;
        _options = options;
        _normOrder = pruning.Order(normOrder);
        _layout = pruning;
        _checkpointing = new ActivationCheckpointingPolicy(options.ActivationCheckpointing, model);
        _budget = new BudgetRegularizer(model.Spec, budget, pruning, normOrder);
        _learned = new LearnedGates(layout, pruning, device);
        _sampler = new StepSampler(model, options, ablations.ReferenceImplementationQuirks, constraints, pruning, _learned, random);
        Hypernetwork = new Hypernetwork(_learned.Sizes, random, device, ablations.Kind);
        _optimizer = new AdamW(Hypernetwork.parameters(), ablations.Kind == HypernetworkKind.None ? 0 : options.WeightDecay);
        _scales = options.ScaleLearningRate > 0 ? new ScaleLearning(layout, _normOrder, pruning, device) : null;
        using var scope = NewDisposeScope();
        long[] siteOf = [.. layout.Sites.SelectMany((site, index) => Enumerable.Repeat((long)index, site.Size))];
        _siteOf = tensor(siteOf, ScalarType.Int64).to(device, copy: true).DetachFromDisposeScope();
        if (start is not null && options.InitialScoreWeight > 0)
        {
            Tensor scores =
                tensor(GateScores.Standardised(start, pruning).Values.ToArray()).MulScalar(options.InitialScoreWeight)
                    .to(device, copy: true);
            _start = _learned.Average(scores).DetachFromDisposeScope();
        }
    }

    /// <summary>The network that learns. The trainer disposes it.</summary>
    public Hypernetwork Hypernetwork { get; }

    /// <summary>Steps done.</summary>
    public int StepsDone => _step;

    /// <summary>The dense model's parameters in the budget's scope.</summary>
    public long DenseParameters => _budget.Dense;

    internal GateLayout Layout => _model.GateLayout;

    /// <summary>The present logit of every gate. Deterministic: nothing is sampled.</summary>
    /// <exception cref="NumericalException">A logit is not finite; its site is named.</exception>
    public SelectionScores Scores()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor logits = Logits();
        ThrowIfNotFinite(logits, "a logit");
        return new SelectionScores(_model.GateLayout, logits.cpu().data<float>().ToArray());
    }

    /// <summary>The learned scales of all gates; null where <see cref="HypernetworkOptions.ScaleLearningRate"/> is 0.</summary>
    public FeatureScales? Scales() => _scales?.Learned(_model.GateLayout);

    /// <summary>Learns for <see cref="HypernetworkOptions.Steps"/> steps, on the caller's thread.</summary>
    /// <param name="sequences">The calibration sequences.</param>
    /// <param name="progress">Where every step is reported to.</param>
    /// <param name="cancellationToken">Looked at in every step; the trainer stays usable.</param>
    /// <returns>One entry per step.</returns>
    /// <exception cref="NumericalException">A NaN or an infinity; step and place are named.</exception>
    public IReadOnlyList<PruningProgress> Run(
        SequenceSampler sequences, IProgress<PruningProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        return new TrainingLoop(this, _options.Steps, null, progress, NullLogger.Instance).Run(sequences, [], cancellationToken);
    }

    /// <summary>The next step: its sequences and its samples follow from the seed and the step's number alone.</summary>
    /// <param name="sequences">The calibration sequences.</param>
    /// <param name="cancellationToken">Looked at between batches; a cancelled step has changed nothing.</param>
    /// <exception cref="NumericalException">A NaN or an infinity; the step has changed nothing.</exception>
    public StepLosses Step(SequenceSampler sequences, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        using var scope = NewDisposeScope();
        long first = (long)_step * _options.GradientAccumulationSteps;
        Tensor[] batches = [.. Enumerable.Range(0, _options.GradientAccumulationSteps).Select(i => sequences.Batch(first + i))];
        var (uniforms, budgetUniforms) = _sampler.Uniforms(_step);
        return Step(batches, uniforms, budgetUniforms, cancellationToken);
    }

    /// <summary>One step with tokens and random numbers of the caller's choice.</summary>
    /// <param name="batches">Tokens <c>[batch, seq]</c>, int64, whose gate gradients are accumulated.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1): a gate opens where its number is below its probability.</param>
    /// <param name="cancellationToken">Looked at between batches; a cancelled step has changed nothing.</param>
    /// <exception cref="NumericalException">A NaN or an infinity; the step has changed nothing.</exception>
    public StepLosses Step(IReadOnlyList<Tensor> batches, Tensor uniforms, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(batches);
        ArgumentNullException.ThrowIfNull(uniforms);
        return Step(batches, uniforms, null, cancellationToken);
    }

    /// <summary>
    /// The hypernetwork, the scales, the optimizers' moments and the scores that the run started from, by name: with
    /// <see cref="StepsDone"/>, all that the next step depends on. Not copies.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor>(Hypernetwork.state_dict(prefix: "hypernetwork"), StringComparer.Ordinal);
        foreach (var (name, value) in _optimizer.Moments(i => $"optimizer.{i}").Concat(_scales?.State() ?? []))
        {
            state[name] = value;
        }

        if (_start is not null)
        {
            state[StartName] = _start;
        }

        return state;
    }

    /// <summary>Resumes from the state of another trainer with the same model and options.</summary>
    /// <param name="values">What its <see cref="State"/> returned. The scores that it started from are taken over.</param>
    /// <param name="stepsDone">Its <see cref="StepsDone"/>.</param>
    /// <exception cref="ArgumentException">
    /// A name is missing or unknown, or a shape differs; it is named, and nothing is changed.
    /// </exception>
    public void LoadState(IReadOnlyDictionary<string, Tensor> values, int stepsDone)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfNegative(stepsDone);
        var state = State().Where(entry => entry.Key != StartName).ToDictionary(StringComparer.Ordinal);
        foreach (string name in state.Keys.Concat(values.Keys).Distinct())
        {
            long[]? found = values.GetValueOrDefault(name)?.shape;
            long[]? wanted = name == StartName ? [_model.GateLayout.Count] : state.GetValueOrDefault(name)?.shape;
            if (found is null || wanted is null || !found.SequenceEqual(wanted))
            {
                static string Say(long[]? shape) => shape is null ? "missing" : $"[{string.Join(", ", shape)}]";
                throw new ArgumentException($"'{name}' is {Say(found)} in the given state and {Say(wanted)} in this trainer's.",
                    nameof(values));
            }
        }

        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        foreach (var (name, target) in state)
        {
            target.copy_(values[name]);
        }

        _start?.Dispose();
        _start = values.GetValueOrDefault(StartName)?.to(_model.Backend.Device, copy: true).DetachFromDisposeScope();
        _optimizer.StepsDone = _step = stepsDone;
        if (_scales is not null)
        {
            _scales.StepsDone = stepsDone;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _optimizer.Dispose();
        _start?.Dispose();
        _scales?.Dispose();
        _siteOf.Dispose();
        _sampler.Dispose();
        _learned.Dispose();
        Hypernetwork.Dispose();
    }

    private StepLosses Step(IReadOnlyList<Tensor> batches, Tensor uniforms, Tensor? budgetUniforms, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();

        // x: the logits of all gates, from the hypernetwork (docs/method.md, Hypernetwork).
        Tensor x = Logits();
        ThrowIfNotFinite(x, "a logit");

        // s and ds/dx: a sample of the gates (docs/method.md, ReinMax). Scales multiply open gates.
        var s = _sampler.Sample(x, uniforms, budgetUniforms, _step);
        Tensor gates = _scales is null ? s.Model.Gates : s.Model.Gates * _scales.Values;

        // L(s) and dL/ds: the forward and the backward pass of the frozen model (Eq. 6, first term).
        using var loss =
            GateGradients.Compute(
                _model, new Gates(gates, _normOrder) { Layout = _layout }, batches, _checkpointing, _options.DistillationWeight,
                cancellationToken);
        if (!double.IsFinite(loss.CrossEntropy))
        {
            throw new NumericalException(_step + 1, "the cross-entropy");
        }

        Tensor lossGradient = _scales is null ? loss.Gradient : loss.Gradient * _scales.Values;

        // lambda R(T(s), p T_total) and its gradient with respect to s (Eq. 6, second term).
        Tensor counted = s.Budget.Gates.detach().clone().requires_grad_();
        Tensor kept = _budget.KeptParameters(counted);
        Tensor budgetLoss = _budget.Loss(kept, _options.BudgetFractionAt(_step));
        budgetLoss.backward();
        Tensor budgetGradient = counted.grad!.MulScalar(_options.BudgetLossWeight);
        Tensor gateGradient = lossGradient.Add(budgetGradient);
        ThrowIfNotFinite(gateGradient, "the gradient of a gate");

        // d/dx = d/ds ds/dx, then the backward pass through the hypernetwork and the optimizer's update.
        _optimizer.Step(x, (lossGradient * s.Model.Jacobian).Add(budgetGradient * s.Budget.Jacobian), _options.LearningRateAt(_step));
        _scales?.Learn(loss.Gradient * s.Sampled, _options.ScaleLearningRateAt(_step));
        _step++;
        return new StepLosses(loss.CrossEntropy, budgetLoss.ReadDouble(), kept.ReadDouble(), gateGradient.norm().ReadDouble())
        {
            Tokens = batches.Sum(batch => batch.numel()),
            CollapsedSites = Collapsed(s.Sampled),
        };
    }

    private Tensor Logits()
    {
        Tensor learned = _learned.Expand(Hypernetwork.Logits());
        learned = _start is null ? learned : learned.Add(_start);
        return _learned.EqualizeWidths(learned, -_options.InitialLogitBias);
    }

    private IReadOnlyList<GateRange> Collapsed(Tensor gates)
    {
        var sites = _model.GateLayout.Sites;
        using var noGradient = no_grad();
        float[] open =
            zeros(sites.Count, ScalarType.Float32, gates.device).IndexAdd(0, _siteOf, gates.round()).cpu().data<float>().ToArray();
        return [.. sites.Where((site, index) => open[index] == 0 && site.Site.Descriptor().FewestKept > 0)];
    }

    private void ThrowIfNotFinite(Tensor values, string what) =>
        NumericalException.ThrowIfNotFinite(values, _model.GateLayout, _step + 1, what);
}
