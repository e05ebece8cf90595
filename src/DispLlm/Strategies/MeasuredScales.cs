using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Scales in closed form, from the gradients that are measured anyway: one damped Newton step per round, with the diagonal of the Fisher
/// information as the curvature,
/// <code>
/// a_j = a_j - step * mean(g_j) / (F_j + mean of F),    F_j = T mean(g_j^2)    T: predictions of a sequence; means over sequences
/// </code>
/// for gates that are open. The step is far below 1, since features move together and the diagonal does not know it.
/// </summary>
internal sealed class MeasuredScales : IDisposable
{
    private readonly Tensor _values;
    private readonly Tensor _free;     // [gates]: 0 where a scale stays 1
    private readonly double _step;

    public MeasuredScales(GateLayout gates, NormOrder order, PruningLayout layout, Device device, double step)
    {
        using var scope = NewDisposeScope();
        _values = ones(gates.Count, ScalarType.Float32, device).DetachFromDisposeScope();
        _free = order.ScalableGates(gates, layout, device).DetachFromDisposeScope();
        _step = step;
    }

    /// <summary>The present scales, <c>[gates]</c>.</summary>
    public Tensor Values => _values;

    /// <summary>One step.</summary>
    /// <param name="open"><c>[gates]</c>: 1 where a gate was open, 0 where it was closed.</param>
    /// <param name="gradient"><c>[gates]</c>: the mean gradient over sequences.</param>
    /// <param name="information"><c>[gates]</c>: T times the mean of its squares.</param>
    public void Step(Tensor open, Tensor gradient, Tensor information)
    {
        using var scope = NewDisposeScope();
        Tensor damping = (information * open).sum() / open.sum();
        Tensor change = (gradient / information.Add(damping).AddScalar(1e-30)).Clamp(-1, 1);
        _values.sub_((change * open * _free).MulScalar(_step));
    }

    /// <summary>The scales found.</summary>
    public FeatureScales Found(GateLayout layout) => FeatureScales.Rounded(layout, _values);

    public void Dispose()
    {
        _values.Dispose();
        _free.Dispose();
    }
}
