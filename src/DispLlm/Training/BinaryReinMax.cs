using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>One draw of gates.</summary>
/// <param name="Gates"><c>[gates]</c>, float32: 0 or 1.</param>
/// <param name="Jacobian"><c>[gates]</c>, float32: the estimate of d gate / d logit.</param>
public sealed record GateSample(Tensor Gates, Tensor Jacobian);

/// <summary>
/// From logits to hard gates with a useful gradient: ReinMax (Liu et al., 2023), written out for two classes (method, section 3).
/// <code>
/// z  = x + c                  p0 = sigmoid(z)
/// B  ~ Bernoulli(p0)          p1 = (B + sigmoid(z / tau)) / 2
/// s  = B    with    ds/dx = 2 p1 (1 - p1) - p0 (1 - p0) / 2
/// </code>
/// </summary>
public static class BinaryReinMax
{
    /// <summary>Draws gates.</summary>
    /// <param name="logits"><c>[gates]</c>, float32: x. No gradient flows through this call; the slope is the gradient.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1): a gate opens where its number is below p0.</param>
    /// <param name="offset">c: large enough that all gates open at the start.</param>
    /// <param name="temperature">tau, above 0.</param>
    /// <returns>The draw; the caller disposes both tensors.</returns>
    public static GateSample Sample(Tensor logits, Tensor uniforms, double offset = 3, double temperature = 1)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(uniforms);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        Tensor z = logits.AddScalar(offset);
        Tensor p0 = z.sigmoid();
        Tensor gates = (uniforms < p0).to(ScalarType.Float32);
        Tensor p1 = gates.Add(z.DivScalar(temperature).sigmoid()).DivScalar(2);
        Tensor slope = (p1.MulScalar(2) * p1.OneMinus()) - (p0 * p0.OneMinus()).DivScalar(2);
        return new GateSample(gates.MoveToOuterDisposeScope(), slope.MoveToOuterDisposeScope());
    }
}
