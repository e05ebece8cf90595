using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>How a gate is drawn from its logit, and what its gradient is taken to be.</summary>
public enum GateEstimator
{
    /// <summary>Hard gates with ReinMax's second-order slope (the paper's).</summary>
    ReinMax,

    /// <summary>Hard gates with the slope of their probability: <c>ds/dx = p0 (1 - p0)</c>.</summary>
    StraightThrough,

    /// <summary>Soft gates between 0 and 1, a Gumbel-sigmoid: <c>s = sigmoid((x + c + g) / tau)</c> with exact slope (the released code's).</summary>
    GumbelSigmoid,
}

/// <summary>Draws gates by any of the estimators.</summary>
public static class GateSampler
{
    // As the released code keeps its logarithms finite.
    private const double Tiny = 1e-20;

    /// <summary>Draws gates.</summary>
    /// <param name="estimator">How.</param>
    /// <param name="logits"><c>[gates]</c>, float32: x. No gradient flows through this call; the slope is the gradient.</param>
    /// <param name="uniforms"><c>[gates]</c>, uniform in [0, 1).</param>
    /// <param name="offset">c, added to every logit.</param>
    /// <param name="temperature">tau, above 0; of no meaning for <see cref="GateEstimator.StraightThrough"/>.</param>
    /// <param name="sharpness">A factor on <c>x + c</c>, above 0. With 1 it is the published estimator; larger ones draw more decidedly.</param>
    /// <returns>The draw; the caller disposes both tensors.</returns>
    public static GateSample Sample(
        GateEstimator estimator, Tensor logits, Tensor uniforms, double offset = 3, double temperature = 1, double sharpness = 1)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(uniforms);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(sharpness);
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        Tensor z = logits.AddScalar(offset).MulScalar(sharpness);
        Tensor gates, slope;
        switch (estimator)
        {
            case GateEstimator.ReinMax:
                (gates, slope) = BinaryReinMax.Sample(z, uniforms, 0, temperature);
                break;
            case GateEstimator.StraightThrough:
                Tensor open = z.sigmoid();
                gates = (uniforms < open).to(ScalarType.Float32);
                slope = open * open.OneMinus();
                break;
            case GateEstimator.GumbelSigmoid:
                Tensor gumbel = uniforms.AddScalar(Tiny).log().neg().AddScalar(Tiny).log().neg();
                gates = z.Add(gumbel).DivScalar(temperature).sigmoid();
                slope = (gates * gates.OneMinus()).DivScalar(temperature);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(estimator), estimator, "There are three estimators.");
        }

        return new GateSample(gates.MoveToOuterDisposeScope(), slope.MulScalar(sharpness).MoveToOuterDisposeScope());
    }

    /// <summary>Soft gates rounded to 0 or 1, with their own slope: what the released code's budget loss sees.</summary>
    /// <param name="draw">A soft draw; it stays as it is.</param>
    /// <returns>The rounded draw; the caller disposes both tensors.</returns>
    public static GateSample Round(GateSample draw)
    {
        ArgumentNullException.ThrowIfNull(draw);
        using var noGradient = no_grad();
        return new GateSample(draw.Gates.round(), draw.Jacobian.alias());
    }
}
