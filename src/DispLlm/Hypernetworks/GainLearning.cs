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
    public const string Name = "gains";

    // More digits mean nothing, and a plan has to be read.
    private const int Decimals = 4;

    // Steps are few and draws change: the usual memory of a thousand steps would hold the first ones' gradients for the whole run.
    private const double SquaresMemory = 0.99;

    private readonly Parameter _gains;
    private readonly Adam _optimizer;
    private readonly Tensor? _free;    // [gates]: 0 where a gain has to stay 1

    /// <param name="layout">The model's gates.</param>
    /// <param name="order">With <see cref="NormOrder.SelectThenNorm"/> a norm stands behind S1 and S3, so that no weight could take their gains over: they stay 1.</param>
    /// <param name="device">Where gates are.</param>
    public GainLearning(GateLayout layout, NormOrder order, Device device)
    {
        using var scope = NewDisposeScope();
        _gains = new Parameter(ones(layout.Count, ScalarType.Float32, device));
        _gains.DetachFromDisposeScope();
        _optimizer = optim.Adam([_gains], beta2: SquaresMemory);
        if (order == NormOrder.SelectThenNorm)
        {
            Tensor free = cat([.. layout.Sites.Select(site =>
                full(site.Size, site.Site is SelectionSite.AttentionInput or SelectionSite.MlpInput ? 0f : 1f, ScalarType.Float32))]);
            _free = free.to(device, copy: true).DetachFromDisposeScope();
        }
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
        autograd.backward([_gains], [_free is null ? gradient : gradient * _free]);
        _optimizer.step();
    }

    /// <summary>What was learned.</summary>
    public GateGains Learned(GateLayout layout)
    {
        using var scope = NewDisposeScope();
        return new GateGains(layout, [.. Values.cpu().data<float>().Select(gain => MathF.Round(gain, Decimals))]);
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
        _free?.Dispose();
    }

    private Adam.State Moments => (Adam.State)_optimizer.state_dict().State[0];
}
