using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Learns what each open gate multiplies its feature by, beside the selection. The model's half of a step gives <c>d loss / d (gate x gain)</c>: times the gain that is the
/// gate's gradient, and times the gate the gain's, so that gains cost no pass of their own.
/// </summary>
internal sealed class ScaleLearning : IDisposable
{
    private const string Name = "gains";

    // Steps are few and draws change: the usual memory of a thousand steps would hold the first ones' squares for the whole run.
    private const double SquareMemory = 0.99;

    private readonly Parameter _gains;
    private readonly AdamOptimizer _optimizer;
    private readonly Tensor _free;     // [gates]: 0 where a gain has to stay 1

    /// <param name="layout">The model's gates.</param>
    /// <param name="order">The order, which may leave some gains at 1.</param>
    /// <param name="device">Where gates are.</param>
    public ScaleLearning(GateLayout layout, NormOrder order, Device device)
    {
        using var scope = NewDisposeScope();
        _gains = new Parameter(ones(layout.Count, ScalarType.Float32, device));
        _gains.DetachFromDisposeScope();
        _optimizer = new AdamOptimizer([_gains], squareMemory: SquareMemory);
        _free = order.ScalableGates(layout, device).DetachFromDisposeScope();
    }

    /// <summary>The gains as they are, <c>[gates]</c>, without gradient. Another view of the same numbers, for the caller's dispose scope.</summary>
    public Tensor Values => _gains.detach();

    /// <summary>One step down the loss.</summary>
    /// <param name="gradient"><c>[gates]</c>: d loss / d gain.</param>
    /// <param name="rate">The step's learning rate.</param>
    public void Learn(Tensor gradient, double rate)
    {
        using var scope = NewDisposeScope();
        _optimizer.Step(_gains, gradient * _free, rate);
    }

    /// <summary>What was learned.</summary>
    public FeatureScales Learned(GateLayout layout)
    {
        using var scope = NewDisposeScope();
        return FeatureScales.Rounded(layout, Values);
    }

    /// <summary>Everything that the next step depends on but its number, by name. Not copies.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State() => [new(Name, _gains), .. _optimizer.Moments(_ => Name)];

    /// <summary>Goes on behind a step, with the <see cref="State"/> of that step.</summary>
    public void GoOnBehind(int step) => _optimizer.StepsDone = step;

    public void Dispose()
    {
        _optimizer.Dispose();
        _gains.Dispose();
        _free.Dispose();
    }
}
