using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>The gates of one step, as each of its losses sees them: with the method, one sample serves both.</summary>
/// <param name="Sampled"><c>[gates]</c>: what was sampled.</param>
/// <param name="Model">The gates of the frozen model.</param>
/// <param name="Budget">The gates that the budget loss counts.</param>
internal readonly record struct StepSample(Tensor Sampled, GateSample Model, GateSample Budget);

/// <summary>Samples the gates of a step from their logits; the ablations that change the sample are here and nowhere else.</summary>
internal sealed class StepSampler : IDisposable
{
    private readonly HypernetworkOptions _options;
    private readonly RandomSource _random;
    private readonly LearnedGates _learned;
    private readonly Tensor? _squared;      // [gates]: 1 where the authors' code applies the gate twice
    private readonly Tensor? _free;         // [gates]: 0 where a gate is held open
    private readonly Tensor? _sharpness;    // [gates]: a factor on each logit

    public StepSampler(IPrunableModel model, HypernetworkOptions options, bool quirks, BudgetConstraints constraints, PruningLayout layout,
        LearnedGates learned, RandomSource random)
    {
        _options = options;
        _random = random;
        _learned = learned;
        using var scope = NewDisposeScope();
        Tensor PerSite(Func<GateRange, bool> isOne) =>
            cat([.. model.GateLayout.Sites.Select(site =>
                ScalarOps.Full([site.Size], isOne(site) ? 1 : 0, ScalarType.Float32))]).to(model.Backend.Device, copy: true);
        bool IsFree(GateRange site) => layout.Selects(site.Site) && !constraints.Excludes(site.Block, site.Site, model.Spec.NumLayers);
        if (!model.GateLayout.Sites.All(IsFree))
        {
            _free = PerSite(IsFree).DetachFromDisposeScope();
        }

        double sharpness = options.GroupInverseTemperature;
        if (layout.Selects(SelectionSite.AttentionGroups) && sharpness != 1)
        {
            _sharpness = PerSite(site => site.Site == SelectionSite.AttentionGroups).MulScalar(sharpness - 1).AddScalar(1)
                .DetachFromDisposeScope();
        }

        if (quirks)
        {
            // S4: the authors' code gates both factors of a gated MLP, which squares the gate.
            _squared = PerSite(site => site.Site == SelectionSite.MlpHidden && model.Spec.GatedMlp).DetachFromDisposeScope();
        }
    }

    /// <summary>
    /// A step's random numbers: <c>[gates]</c>, uniform in [0, 1), one for each learned gate; and a second vector where the budget loss has
    /// a sample of its own.
    /// </summary>
    public (Tensor Model, Tensor? Budget) Uniforms(int step) =>
        (Uniforms("gates", step), _squared is null ? null : Uniforms("gates.budget", step));

    /// <summary>Samples the gates of a step.</summary>
    /// <param name="logits"><c>[gates]</c>.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1).</param>
    /// <param name="budgetUniforms">The same for the budget loss; null for one sample that serves both losses.</param>
    /// <param name="step">The step, from 0.</param>
    public StepSample Sample(Tensor logits, Tensor uniforms, Tensor? budgetUniforms, int step)
    {
        var sample = Sample(logits, uniforms, step);
        var budget = budgetUniforms is null ? sample : GateSampler.Round(Sample(logits, budgetUniforms, step));
        if (_squared is null)
        {
            return new StepSample(sample.Gates, sample, budget);
        }

        using var noGradient = no_grad();
        Tensor once = _squared.OneMinus();
        var squared = new GateSample(
            (sample.Gates * once).Add(sample.Gates.PowScalar(2) * _squared),
            sample.Jacobian * once.Add(sample.Gates.MulScalar(2) * _squared));
        return new StepSample(sample.Gates, squared, budget);
    }

    public void Dispose()
    {
        _squared?.Dispose();
        _free?.Dispose();
        _sharpness?.Dispose();
    }

    private GateSample Sample(Tensor logits, Tensor uniforms, int step)
    {
        // Gates that are shared are sampled once.
        uniforms = _learned.Share(uniforms.to(logits.device));
        using var noGradient = no_grad();
        double offset = _options.InitialLogitBias;
        logits = _sharpness is null ? logits : (logits.AddScalar(offset) * _sharpness).AddScalar(-offset);
        var sample = GateSampler.Sample(_options.Estimator, logits, uniforms, offset, _options.Temperature,
            _options.InverseTemperatureAt(step));
        sample = _sharpness is null ? sample : sample with { Jacobian = sample.Jacobian * _sharpness };
        if (_free is null)
        {
            return sample;
        }

        return new GateSample((sample.Gates * _free).Add(_free.OneMinus()), sample.Jacobian * _free);
    }

    private Tensor Uniforms(string name, int step)
    {
        using var stream = _random.Stream(name, step);
        return _learned.Expand(stream.Uniform(_learned.Count).to(_learned.Device));
    }
}
