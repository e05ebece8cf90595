using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Learns what each open gate multiplies its feature by (docs/method.md, Feature scales). The model's half of a step gives
/// <c>g = d loss / d (gate x scale)</c>: <c>g x scale</c> is the gate's gradient and <c>g x gate</c> the scale's, so that scales need no
/// forward or backward pass of their own.
/// </summary>
internal sealed class ScaleLearning : IDisposable
{
    private const string Name = "gains";

    // Steps are few and samples change: with the usual 0.999 the first steps' squares would count for the whole run.
    private const double Beta2 = 0.99;

    private readonly Parameter _scales;
    private readonly AdamW _optimizer;
    private readonly Tensor _free;     // [gates]: 0 where a scale stays 1

    /// <param name="gates">The model's gates.</param>
    /// <param name="order">The order, which may hold some scales at 1.</param>
    /// <param name="layout">The layout, which may too.</param>
    /// <param name="device">The gates' device.</param>
    public ScaleLearning(GateLayout gates, NormOrder order, PruningLayout layout, Device device)
    {
        using var scope = NewDisposeScope();
        _scales = new Parameter(ones(gates.Count, ScalarType.Float32, device));
        _scales.DetachFromDisposeScope();
        _optimizer = new AdamW([_scales], beta2: Beta2);
        _free = order.ScalableGates(gates, layout, device).DetachFromDisposeScope();
    }

    /// <summary>A view of the present scales, <c>[gates]</c>, without gradient, in the caller's dispose scope.</summary>
    public Tensor Values => _scales.detach();

    /// <summary>One step down the loss.</summary>
    /// <param name="gradient"><c>[gates]</c>: d loss / d scale.</param>
    /// <param name="rate">The step's learning rate.</param>
    public void Learn(Tensor gradient, double rate)
    {
        using var scope = NewDisposeScope();
        _optimizer.Step(_scales, gradient * _free, rate);
    }

    /// <summary>The learned scales.</summary>
    public FeatureScales Learned(GateLayout layout)
    {
        using var scope = NewDisposeScope();
        return FeatureScales.Rounded(layout, Values);
    }

    /// <summary>The scales and their moments by name. Not copies.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State() => [new(Name, _scales), .. _optimizer.Moments(_ => Name)];

    /// <summary>Steps done.</summary>
    public int StepsDone
    {
        set => _optimizer.StepsDone = value;
    }

    public void Dispose()
    {
        _optimizer.Dispose();
        _scales.Dispose();
        _free.Dispose();
    }
}
