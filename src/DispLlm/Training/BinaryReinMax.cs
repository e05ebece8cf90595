using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>One sample of gates. Disposing it disposes both tensors. Not safe for concurrent disposal.</summary>
/// <param name="Gates"><c>[gates]</c>, float32: 0 or 1, or between them for soft gates.</param>
/// <param name="Jacobian"><c>[gates]</c>, float32: the estimate of d gate / d logit.</param>
public sealed record GateSample(Tensor Gates, Tensor Jacobian) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Gates.Dispose();
        Jacobian.Dispose();
    }
}

/// <summary>
/// Hard gates from logits, with a second-order estimate of the gradient: ReinMax (Liu et al., 2023), written out for two classes
/// (docs/method.md, ReinMax). Thread-safe.
/// <code>
/// z  = x + c                  p0 = sigmoid(z)
/// B  ~ Bernoulli(p0)          p1 = (B + sigmoid(z / tau)) / 2
/// s  = B    with    ds/dx = 2 p1 (1 - p1) - p0 (1 - p0) / 2
/// </code>
/// </summary>
public static class BinaryReinMax
{
    /// <summary>Samples gates.</summary>
    /// <param name="logits"><c>[gates]</c>, float32: x. No gradient flows through this call; the Jacobian is the gradient.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1): a gate opens where its number is below p0.</param>
    /// <param name="offset">c: large enough that all gates open at the start.</param>
    /// <param name="temperature">tau, above 0.</param>
    /// <returns>The sample; the caller disposes it.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A temperature that is not above 0.</exception>
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
        Tensor jacobian = (p1.MulScalar(2) * p1.OneMinus()) - (p0 * p0.OneMinus()).DivScalar(2);
        return new GateSample(gates.MoveToOuterDisposeScope(), jacobian.MoveToOuterDisposeScope());
    }
}
