using Microsoft.Extensions.Logging.Abstractions;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Learns a selection: <c>loss = L(next token; frozen weights, gates s) + lambda R(T(s), p T_total)</c> (method, section 5; paper, Eq. 6).
/// A step has two halves that meet at the gates. The model's half (<see cref="GateGradients"/>) turns gates into the loss's gradient by each
/// gate; the hypernetwork's half takes that gradient through ReinMax's slope to its weights. One draw of gates serves both losses. The same gradient teaches the gains of
/// open gates, where <see cref="HypernetworkOptions.ScaleLearningRate"/> asks for them.
/// </summary>
public sealed class HypernetworkTrainer : IDisposable
{
    private const string StartName = "start";

    private readonly IPrunableModel _model;
    private readonly HypernetworkOptions _options;
    private readonly HypernetworkAblations _ablations;
    private readonly NormOrder _normOrder;
    private readonly RandomSource _random;
    private readonly BudgetRegularizer _budget;
    private readonly AdamOptimizer _optimizer;
    private readonly ActivationCheckpointingPolicy _activations;
    private readonly SharedGates? _shared;
    private readonly Tensor _siteOf;       // [gates], int64: each gate's place among the sites
    private readonly Tensor? _squared;
    private readonly ScaleLearning? _gains;
    private Tensor? _start;
    private int _step;

    /// <summary>Creates a trainer with a fresh hypernetwork.</summary>
    /// <param name="model">The dense model; its weights never change.</param>
    /// <param name="budget">What may be kept.</param>
    /// <param name="options">How to learn.</param>
    /// <param name="seed">Seed of the hypernetwork's weights and of every draw.</param>
    /// <param name="normOrder">Norm or selection first; the cut model has to use the same.</param>
    /// <param name="start">
    /// Scores that the logits start from, <see cref="HypernetworkOptions.InitialScoreWeight"/> times, standardised; null to start from nothing.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    public HypernetworkTrainer(
        IPrunableModel model,
        PruningBudget budget,
        HypernetworkOptions options,
        long seed = 0,
        NormOrder normOrder = NormOrder.NormThenSelect,
        SelectionScores? start = null)
        : this(model, budget, options, new HypernetworkAblations(), seed, normOrder, start)
    {
    }

    internal HypernetworkTrainer(
        IPrunableModel model, PruningBudget budget, HypernetworkOptions options, HypernetworkAblations ablations, long seed, NormOrder normOrder, SelectionScores? start)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(budget);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        ablations.Validate(options);
        ModelAlreadyPrunedException.ThrowIfPruned(model);
        _ablations = ablations;
        _model = model;
        _options = options;
        _activations = new ActivationCheckpointingPolicy(options.ActivationCheckpointing, model);
        _normOrder = normOrder;
        _random = model.Backend.Random(seed);
        _budget = new BudgetRegularizer(model.Spec, budget);
        _shared = ablations.SharedStream ? new SharedGates(model.GateLayout, model.Backend.Device) : null;
        Hypernetwork = _shared is null
            ? new Hypernetwork(model.GateLayout, _random, model.Backend.Device, ablations.Kind)
            : new Hypernetwork(_shared.Sizes, _random, model.Backend.Device, ablations.Kind);
        double decay = ablations.Kind == HypernetworkKind.None ? 0 : options.WeightDecay;
        _optimizer = new AdamOptimizer(Hypernetwork.Parameters, decay);
        using var scope = NewDisposeScope();
        long[] siteOf = [.. model.GateLayout.Sites.SelectMany((site, place) => Enumerable.Repeat((long)place, site.Size))];
        _siteOf = tensor(siteOf, ScalarType.Int64).to(model.Backend.Device, copy: true).DetachFromDisposeScope();
        if (start is not null && options.InitialScoreWeight > 0)
        {
            Tensor scores = tensor(GateScores.Standardised(start).Values.ToArray()).MulScalar(options.InitialScoreWeight).to(model.Backend.Device, copy: true);
            _start = (_shared?.Average(scores) ?? scores).DetachFromDisposeScope();
        }

        _gains = options.ScaleLearningRate > 0 ? new ScaleLearning(model.GateLayout, normOrder, model.Backend.Device) : null;
        if (ablations.ReferenceImplementationQuirks)
        {
            // 1 at S4's gates: there the released code gates both factors of a gated MLP, which squares them.
            Tensor hidden = cat([.. model.GateLayout.Sites.Select(site =>
                ScalarOps.Full([site.Size], site.Site == SelectionSite.MlpHidden && model.Spec.GatedMlp ? 1 : 0, ScalarType.Float32))]);
            _squared = hidden.to(model.Backend.Device, copy: true).DetachFromDisposeScope();
        }
    }

    /// <summary>The network that learns.</summary>
    public Hypernetwork Hypernetwork { get; }

    /// <summary>Steps done.</summary>
    public int StepsDone => _step;

    /// <summary>The dense model's parameters in the budget's scope.</summary>
    public long DenseParameters => _budget.Dense;

    internal GateLayout Layout => _model.GateLayout;

    /// <summary>What the run now thinks of every gate: its logit. Deterministic, nothing is drawn.</summary>
    /// <exception cref="NumericalException">A logit is not finite; its site is named.</exception>
    public SelectionScores Scores()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor logits = Logits();
        ThrowIfNotFinite(logits, "a logit");
        return new SelectionScores(_model.GateLayout, logits.cpu().data<float>().ToArray());
    }

    /// <summary>What the run has learned to multiply open gates' features by; null where <see cref="HypernetworkOptions.ScaleLearningRate"/> is 0.</summary>
    public FeatureScales? Scales() => _gains?.Learned(_model.GateLayout);

    /// <summary>Learns for <see cref="HypernetworkOptions.Steps"/> steps.</summary>
    /// <param name="windows">The calibration text in windows.</param>
    /// <param name="progress">Told after every step.</param>
    /// <param name="cancellationToken">Looked at in every step; the trainer stays usable.</param>
    /// <returns>One entry a step.</returns>
    /// <exception cref="NumericalException">A NaN or an infinity; step and place are named.</exception>
    public IReadOnlyList<PruningProgress> Run(
        SequenceSampler windows, IProgress<PruningProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(windows);
        return new TrainingLoop(this, _options.Steps, null, progress, NullLogger.Instance).Run(windows, [], cancellationToken);
    }

    /// <summary>The next step: its windows and its draws follow from the seed and the step's number alone.</summary>
    /// <param name="windows">The calibration text in windows.</param>
    /// <param name="cancellationToken">Looked at between windows; a step that is cancelled has changed nothing.</param>
    /// <exception cref="NumericalException">A NaN or an infinity; nothing is changed by the step.</exception>
    public StepLosses Step(SequenceSampler windows, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(windows);
        using var scope = NewDisposeScope();
        var batches = Enumerable.Range(0, _options.GradientAccumulationSteps)
            .Select(i => windows.Batch((long)_step * _options.GradientAccumulationSteps + i))
            .ToArray();
        return Step(batches, Uniforms("gates"), _ablations.ReferenceImplementationQuirks ? Uniforms("gates.budget") : null, cancellationToken);
    }

    /// <summary>One step with tokens and draws of the caller's choice.</summary>
    /// <param name="batches">Windows <c>[batch, seq]</c>, int64, whose gate gradients make the step.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1): the draws that open gates.</param>
    /// <param name="budgetUniforms">Draws of the budget's own, with <see cref="HypernetworkAblations.ReferenceImplementationQuirks"/>; null for one draw that serves both losses.</param>
    /// <param name="cancellationToken">Looked at between windows; a step that is cancelled has changed nothing.</param>
    /// <exception cref="NumericalException">A NaN or an infinity; nothing is changed by the step.</exception>
    public StepLosses Step(
        IReadOnlyList<Tensor> batches, Tensor uniforms, Tensor? budgetUniforms = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(batches);
        ArgumentNullException.ThrowIfNull(uniforms);
        using var scope = NewDisposeScope();
        Tensor logits = Logits();
        ThrowIfNotFinite(logits, "a logit");
        var draw = Draw(logits, uniforms);

        // The model's half: d cross-entropy / d gate.
        Tensor seen = _squared is null ? draw.Gates : (draw.Gates * _squared.OneMinus()).Add(draw.Gates.PowScalar(2) * _squared);
        seen = _gains is null ? seen : seen * _gains.Values;
        using var data = GateGradients.Compute(_model, seen, _normOrder, batches, _activations, _options.DistillationWeight, cancellationToken);
        if (!double.IsFinite(data.CrossEntropy))
        {
            throw new NumericalException(_step + 1, "the cross-entropy");
        }

        Tensor slope = _squared is null ? draw.Jacobian : draw.Jacobian * _squared.OneMinus().Add(draw.Gates.MulScalar(2) * _squared);

        // The budget's part, through the same draw unless one of its own is asked for: d R / d gate.
        var counted = budgetUniforms is null ? draw : GateSampler.Round(Draw(logits, budgetUniforms));
        Tensor leaf = counted.Gates.detach().clone().requires_grad_();
        Tensor kept = _budget.KeptParameters(leaf);
        Tensor budgetLoss = _budget.Loss(kept, _options.BudgetFractionAt(_step));
        budgetLoss.backward();

        // The hypernetwork's half: d loss / d logit = d loss / d gate * slope, and on to its weights.
        Tensor budgetGradient = leaf.grad!.MulScalar(_options.BudgetLossWeight);
        Tensor dataGradient = _gains is null ? data.Gradient : data.Gradient * _gains.Values;
        Tensor gateGradient = dataGradient.Add(budgetGradient);
        ThrowIfNotFinite(gateGradient, "the gradient of a gate");
        _optimizer.Step(logits, (dataGradient * slope).Add(budgetGradient * counted.Jacobian), _options.LearningRateAt(_step));
        _gains?.Learn(data.Gradient * draw.Gates, _options.ScaleLearningRateAt(_step));
        _step++;
        return new StepLosses(data.CrossEntropy, budgetLoss.ReadDouble(), kept.ReadDouble(), gateGradient.norm().ReadDouble())
        {
            Tokens = batches.Sum(batch => batch.numel()),
            CollapsedSites = Collapsed(draw.Gates),
        };
    }

    /// <summary>
    /// Everything that the next step depends on but the number of steps done, by name: the hypernetwork, the gains, the optimizers' moments, the scores that the run
    /// started from. Not copies.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        var state = Hypernetwork.State().ToDictionary(entry => "hypernetwork." + entry.Key, entry => entry.Value, StringComparer.Ordinal);
        foreach (var (name, value) in _optimizer.Moments(i => $"optimizer.{i}").Concat(_gains?.State() ?? []))
        {
            state[name] = value;
        }

        if (_start is not null)
        {
            state[StartName] = _start;
        }

        return state;
    }

    /// <summary>Goes on from where another trainer with the same model and options was.</summary>
    /// <param name="values">What its <see cref="State"/> returned. The scores that it started from are taken over.</param>
    /// <param name="stepsDone">Its <see cref="StepsDone"/>.</param>
    /// <exception cref="ArgumentException">A name is missing or unknown, or a shape differs; it is named, and nothing is changed.</exception>
    public void LoadState(IReadOnlyDictionary<string, Tensor> values, int stepsDone)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentOutOfRangeException.ThrowIfNegative(stepsDone);
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        const string Network = "hypernetwork.";
        var targets = State().Where(entry => !entry.Key.StartsWith(Network, StringComparison.Ordinal) && entry.Key != StartName).ToArray();
        foreach (var (name, target) in targets)
        {
            if (!values.TryGetValue(name, out var value) || !value.shape.SequenceEqual(target.shape))
            {
                throw new ArgumentException($"'{name}' is missing or has another shape than [{string.Join(", ", target.shape)}].", nameof(values));
            }
        }

        if (values.TryGetValue(StartName, out var start) && !start.shape.SequenceEqual([_model.GateLayout.Count]))
        {
            throw new ArgumentException($"'{StartName}' is [{string.Join(", ", start.shape)}], not [{_model.GateLayout.Count}].", nameof(values));
        }

        Hypernetwork.LoadState(values.Where(entry => entry.Key.StartsWith(Network, StringComparison.Ordinal))
            .ToDictionary(entry => entry.Key[Network.Length..], entry => entry.Value, StringComparer.Ordinal));
        foreach (var (name, target) in targets)
        {
            target.copy_(values[name]);
        }

        _optimizer.StepsDone = stepsDone;
        _gains?.GoOnBehind(stepsDone);
        _start?.Dispose();
        _start = start?.to(_model.Backend.Device, copy: true).DetachFromDisposeScope();
        _step = stepsDone;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _optimizer.Dispose();
        _start?.Dispose();
        _squared?.Dispose();
        _gains?.Dispose();
        _siteOf.Dispose();
        _shared?.Dispose();
        Hypernetwork.Dispose();
    }

    private Tensor Uniforms(string name)
    {
        using var stream = _random.Stream(name, _step);
        return stream.Uniform(_model.GateLayout.Count);
    }

    private IReadOnlyList<GateRange> Collapsed(Tensor gates)
    {
        var sites = _model.GateLayout.Sites;
        using var noGradient = no_grad();
        float[] open = zeros(sites.Count, ScalarType.Float32, gates.device).IndexAdd(0, _siteOf, gates.round()).cpu().data<float>().ToArray();
        return [.. sites.Where((_, place) => open[place] == 0)];
    }

    private Tensor Logits()
    {
        Tensor learned = Hypernetwork.Logits();
        learned = _shared?.Expand(learned) ?? learned;
        return _start is null ? learned : learned.Add(_start);
    }

    private GateSample Draw(Tensor logits, Tensor uniforms) => GateSampler.Sample(
        _options.Estimator, logits, Shared(uniforms.to(logits.device)), _options.InitialLogitBias, _options.Temperature, _options.InverseTemperatureAt(_step));

    /// <summary>Gates that are shared are drawn once.</summary>
    private Tensor Shared(Tensor uniforms) => _shared?.Expand(uniforms.narrow(0, 0, _shared.Count)) ?? uniforms;

    private void ThrowIfNotFinite(Tensor values, string what) => NumericalException.ThrowIfNotFinite(values, _model.GateLayout, _step + 1, what);
}
