using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>How a gate is sampled from its logit, and how its gradient is estimated.</summary>
public enum GateEstimator
{
    /// <summary>Hard gates with ReinMax's second-order estimate (the paper's).</summary>
    ReinMax,

    /// <summary>Hard gates with the derivative of their probability: <c>ds/dx = p0 (1 - p0)</c>.</summary>
    StraightThrough,

    /// <summary>
    /// Soft gates between 0 and 1, a Gumbel-sigmoid: <c>s = sigmoid((x + c + g) / tau)</c> with their exact derivative (the authors'
    /// code's).
    /// </summary>
    GumbelSigmoid,
}

/// <summary>Samples gates by any of the estimators. Thread-safe.</summary>
public static class GateSampler
{
    // As the authors' code keeps its logarithms finite.
    private const double Epsilon = 1e-20;

    /// <summary>Samples gates.</summary>
    /// <param name="estimator">How.</param>
    /// <param name="logits"><c>[gates]</c>, float32: x. No gradient flows through this call; the Jacobian is the gradient.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1).</param>
    /// <param name="offset">c, added to every logit.</param>
    /// <param name="temperature">tau, above 0; of no meaning for <see cref="GateEstimator.StraightThrough"/>.</param>
    /// <param name="inverseTemperature">
    /// A factor on <c>x + c</c>, above 0. With 1 it is the published estimator; larger ones bring the probabilities closer to 0 and 1.
    /// </param>
    /// <returns>The sample; the caller disposes it.</returns>
    /// <exception cref="ArgumentOutOfRangeException">No such estimator, or a temperature that is not above 0.</exception>
    public static GateSample Sample(
        GateEstimator estimator, Tensor logits, Tensor uniforms, double offset = 3, double temperature = 1, double inverseTemperature = 1)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(uniforms);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(inverseTemperature);
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        Tensor z = logits.AddScalar(offset).MulScalar(inverseTemperature);
        Tensor gates, jacobian;
        switch (estimator)
        {
            case GateEstimator.ReinMax:
                (gates, jacobian) = BinaryReinMax.Sample(z, uniforms, 0, temperature);
                break;
            case GateEstimator.StraightThrough:
                Tensor open = z.sigmoid();
                gates = (uniforms < open).to(ScalarType.Float32);
                jacobian = open * open.OneMinus();
                break;
            case GateEstimator.GumbelSigmoid:
                Tensor gumbel = uniforms.AddScalar(Epsilon).log().neg().AddScalar(Epsilon).log().neg();
                gates = z.Add(gumbel).DivScalar(temperature).sigmoid();
                jacobian = (gates * gates.OneMinus()).DivScalar(temperature);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(estimator), estimator, "There are three estimators.");
        }

        return new GateSample(gates.MoveToOuterDisposeScope(), jacobian.MulScalar(inverseTemperature).MoveToOuterDisposeScope());
    }

    /// <summary>
    /// Soft gates rounded to 0 or 1, with the Jacobian of the soft ones: what the authors' code computes its budget loss from.
    /// </summary>
    /// <param name="sample">A soft sample; it is not changed.</param>
    /// <returns>The rounded sample; the caller disposes it.</returns>
    public static GateSample Round(GateSample sample)
    {
        ArgumentNullException.ThrowIfNull(sample);
        using var noGradient = no_grad();
        return new GateSample(sample.Gates.round(), sample.Jacobian.alias());
    }
}
