using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Learns what each open gate multiplies its feature by, beside the selection. The model's half of a step gives <c>d loss / d (gate x gain)</c>: times the gain that is the
/// gate's gradient, and times the gate the gain's, so that gains cost no pass of their own.
/// </summary>
internal sealed class GainLearning : IDisposable
{
    private const string Name = "gains";

    // Steps are few and draws change: the usual memory of a thousand steps would hold the first ones' gradients for the whole run.
    private const double SquaresMemory = 0.99;

    private readonly Parameter _gains;
    private readonly Adam _optimizer;
    private readonly Tensor _free;     // [gates]: 0 where a gain has to stay 1

    /// <param name="layout">The model's gates.</param>
    /// <param name="order">The order, which may leave some gains at 1.</param>
    /// <param name="device">Where gates are.</param>
    public GainLearning(GateLayout layout, NormOrder order, Device device)
    {
        using var scope = NewDisposeScope();
        _gains = new Parameter(ones(layout.Count, ScalarType.Float32, device));
        _gains.DetachFromDisposeScope();
        _optimizer = optim.Adam([_gains], beta2: SquaresMemory);
        _free = tensor(order.GatesThatTakeGains(layout)).to(device, copy: true).DetachFromDisposeScope();
    }

    /// <summary>The gains as they are, <c>[gates]</c>, without gradient. Another view of the same numbers, for the caller's dispose scope.</summary>
    public Tensor Values => _gains.detach();

    /// <summary>One step down the loss.</summary>
    /// <param name="gradient"><c>[gates]</c>: d loss / d gain.</param>
    /// <param name="rate">The step's learning rate.</param>
    public void Learn(Tensor gradient, double rate)
    {
        using var scope = NewDisposeScope();
        foreach (var group in _optimizer.ParamGroups)
        {
            group.LearningRate = rate;
        }

        _optimizer.zero_grad();
        autograd.backward([_gains], [gradient * _free]);
        _optimizer.step();
    }

    /// <summary>What was learned.</summary>
    public GateGains Learned(GateLayout layout)
    {
        using var scope = NewDisposeScope();
        return GateGains.Rounded(layout, Values);
    }

    /// <summary>Everything that the next step depends on but its number, by name. Not copies.</summary>
    public IReadOnlyDictionary<string, Tensor> State() => new Dictionary<string, Tensor>(StringComparer.Ordinal)
    {
        [Name] = _gains,
        [Name + ".exp_avg"] = Moments.exp_avg,
        [Name + ".exp_avg_sq"] = Moments.exp_avg_sq,
    };

    /// <summary>Goes on behind a step, with the <see cref="State"/> of that step.</summary>
    public void GoOnBehind(int step) => Moments.step = step;

    public void Dispose()
    {
        _optimizer.Dispose();
        _gains.Dispose();
        _free.Dispose();
    }

    private Adam.State Moments => (Adam.State)_optimizer.state_dict().State[0];
}
