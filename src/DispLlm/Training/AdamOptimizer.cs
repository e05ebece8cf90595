using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019), in TorchSharp's order of operations and to the same bits.
/// <code>
/// w = w (1 - rate decay)
/// m = b1 m + (1 - b1) g          v = b2 v + (1 - b2) g^2
/// w = w - rate / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + 1e-8)
/// </code>
/// TorchSharp's own does not hold the numbers that it hands to native calls (<see cref="ScalarOps"/>), which a run of hours is not to be trusted to.
/// </summary>
internal sealed class AdamOptimizer : IDisposable
{
    private const double MeanMemory = 0.9, Tiny = 1e-8;

    private readonly Parameter[] _parameters;
    private readonly Tensor[] _means;
    private readonly Tensor[] _squares;
    private readonly double _decay;
    private readonly double _squareMemory;

    /// <param name="parameters">What learns. They stay the caller's.</param>
    /// <param name="decay">Weight decay.</param>
    /// <param name="squareMemory">b2: how much of the squares' mean stays from step to step.</param>
    public AdamOptimizer(IEnumerable<Parameter> parameters, double decay = 0, double squareMemory = 0.999)
    {
        using var noGradient = no_grad();
        _parameters = [.. parameters];
        _means = [.. _parameters.Select(parameter => zeros_like(parameter).DetachFromDisposeScope())];
        _squares = [.. _parameters.Select(parameter => zeros_like(parameter).DetachFromDisposeScope())];
        _decay = decay;
        _squareMemory = squareMemory;
    }

    /// <summary>Steps done: the formula's t.</summary>
    public int StepsDone { get; set; }

    /// <summary>Everything that the next step depends on but <see cref="StepsDone"/>, by name. Not copies.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> Moments(Func<int, string> prefix) => _parameters.SelectMany((_, i) => new KeyValuePair<string, Tensor>[]
    {
        new(prefix(i) + ".exp_avg", _means[i]), new(prefix(i) + ".exp_avg_sq", _squares[i]),
    });

    /// <summary>One step down a loss.</summary>
    /// <param name="output">What the parameters give, or a parameter itself.</param>
    /// <param name="gradient">The gradient of the loss by it, of the same shape.</param>
    /// <param name="rate">The step's learning rate.</param>
    public void Step(Tensor output, Tensor gradient, double rate)
    {
        autograd.backward([output], [gradient]);
        using var noGradient = no_grad();
        StepsDone++;
        double meanCorrection = 1 - Math.Pow(MeanMemory, StepsDone), squareCorrection = Math.Sqrt(1 - Math.Pow(_squareMemory, StepsDone));
        for (int i = 0; i < _parameters.Length; i++)
        {
            using var scope = NewDisposeScope();
            if (_parameters[i].grad is not { } slope)
            {
                continue;
            }

            _parameters[i].MulScalarInPlace(1 - (rate * _decay));
            _means[i].MulScalarInPlace(MeanMemory).AddInPlace(slope, 1 - MeanMemory);
            _squares[i].MulScalarInPlace(_squareMemory).AddCMulInPlace(slope, slope, 1 - _squareMemory);
            Tensor spread = _squares[i].sqrt().DivScalar(squareCorrection).AddScalar(Tiny);
            _parameters[i].AddCDivInPlace(_means[i], spread, -(rate / meanCorrection));

            // The next step's gradient is added to what is left here.
            slope.zero_();
        }
    }

    public void Dispose()
    {
        foreach (var moment in _means.Concat(_squares))
        {
            moment.Dispose();
        }
    }
}
