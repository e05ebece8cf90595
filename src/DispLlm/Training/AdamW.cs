using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019), in TorchSharp's order of operations and to the same
/// bits.
/// <code>
/// w = w (1 - rate weight_decay)
/// m = b1 m + (1 - b1) g          v = b2 v + (1 - b2) g^2
/// w = w - rate / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + 1e-8)
/// </code>
/// TorchSharp's own AdamW may free scalars during a native call (<see cref="ScalarOps"/>); delete this class when that is mended upstream.
/// </summary>
internal sealed class AdamW : IDisposable
{
    private const double Beta1 = 0.9, Epsilon = 1e-8;

    private readonly Parameter[] _parameters;
    private readonly Tensor[] _means;
    private readonly Tensor[] _squares;
    private readonly double _weightDecay;
    private readonly double _beta2;

    /// <param name="parameters">What is optimized. The caller disposes them.</param>
    /// <param name="weightDecay">Weight decay.</param>
    /// <param name="beta2">b2: the decay rate of the second moment.</param>
    public AdamW(IEnumerable<Parameter> parameters, double weightDecay = 0, double beta2 = 0.999)
    {
        using var noGradient = no_grad();
        _parameters = [.. parameters];
        _means = [.. _parameters.Select(parameter => zeros_like(parameter).DetachFromDisposeScope())];
        _squares = [.. _parameters.Select(parameter => zeros_like(parameter).DetachFromDisposeScope())];
        _weightDecay = weightDecay;
        _beta2 = beta2;
    }

    /// <summary>Steps done: the formula's t.</summary>
    public int StepsDone { get; set; }

    /// <summary>The moments by name: with <see cref="StepsDone"/>, the optimizer's state. Not copies.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> Moments(Func<int, string> prefix) =>
        _parameters.SelectMany((_, i) => new KeyValuePair<string, Tensor>[]
    {
        new(prefix(i) + ".exp_avg", _means[i]), new(prefix(i) + ".exp_avg_sq", _squares[i]),
    });

    /// <summary>The backward pass from the output, and one update.</summary>
    /// <param name="output">What the parameters compute, or a parameter itself.</param>
    /// <param name="gradient">d loss / d output, of the same shape.</param>
    /// <param name="rate">The step's learning rate.</param>
    public void Step(Tensor output, Tensor gradient, double rate)
    {
        autograd.backward([output], [gradient]);
        using var noGradient = no_grad();
        StepsDone++;
        double meanCorrection = 1 - Math.Pow(Beta1, StepsDone), squareCorrection = Math.Sqrt(1 - Math.Pow(_beta2, StepsDone));
        for (int i = 0; i < _parameters.Length; i++)
        {
            using var scope = NewDisposeScope();
            if (_parameters[i].grad is not { } g)
            {
                continue;
            }

            _parameters[i].MulScalarInPlace(1 - (rate * _weightDecay));
            _means[i].MulScalarInPlace(Beta1).AddInPlace(g, 1 - Beta1);
            _squares[i].MulScalarInPlace(_beta2).AddCMulInPlace(g, g, 1 - _beta2);
            Tensor denominator = _squares[i].sqrt().DivScalar(squareCorrection).AddScalar(Epsilon);
            _parameters[i].AddCDivInPlace(_means[i], denominator, -(rate / meanCorrection));

            // Gradients accumulate.
            g.zero_();
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
