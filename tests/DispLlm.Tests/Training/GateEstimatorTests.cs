using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Training;

/// <summary>Draws and slopes against the formulas of the method's section 3, written out in doubles.</summary>
public sealed class GateEstimatorTests
{
    [Fact]
    public void Straight_through_draws_by_probability_and_slopes_by_it() => Each((logit, uniform, offset, _, sharpness) =>
    {
        var (gate, slope) = Draw(GateEstimator.StraightThrough, logit, uniform, offset, 1, sharpness);
        double open = Sigmoid(sharpness * (logit + offset));
        Assert.True(Math.Abs(open - uniform) < 1e-5 || gate == (uniform < open ? 1 : 0));
        Assert.Equal(sharpness * open * (1 - open), slope, 1e-4);
    });

    [Fact]
    public void A_soft_gate_is_the_Gumbel_sigmoid_and_its_slope_is_exact() => Each((logit, uniform, offset, temperature, sharpness) =>
    {
        var (gate, slope) = Draw(GateEstimator.GumbelSigmoid, logit, uniform, offset, temperature, sharpness);
        double gumbel = -Math.Log(-Math.Log(uniform + 1e-20) + 1e-20);
        double Gate(double x) => Sigmoid((sharpness * (x + offset) + gumbel) / temperature);
        Assert.Equal(Gate(logit), gate, 1e-4);
        const double Step = 1e-4;
        Assert.Equal((Gate(logit + Step) - Gate(logit - Step)) / (2 * Step), slope, 2e-3 * Math.Max(1, sharpness / temperature));
    });

    [Fact]
    public void ReinMax_with_a_factor_is_ReinMax_of_the_larger_logit() => Each((logit, uniform, offset, temperature, sharpness) =>
    {
        var (gate, slope) = Draw(GateEstimator.ReinMax, logit, uniform, offset, temperature, sharpness);
        double z = sharpness * (logit + offset), p0 = Sigmoid(z);
        if (Math.Abs(p0 - uniform) < 1e-5)
        {
            return;
        }

        Assert.Equal(uniform < p0 ? 1 : 0, gate);
        double p1 = (gate + Sigmoid(z / temperature)) / 2;
        Assert.Equal(sharpness * (2 * p1 * (1 - p1) - p0 * (1 - p0) / 2), slope, 1e-4);
    });

    /// <summary>What estimators are for: the mean of the slopes is the slope of the mean, for a loss that is linear in the gate.</summary>
    [Theory]
    [InlineData(GateEstimator.ReinMax)]
    [InlineData(GateEstimator.StraightThrough)]
    public void On_average_the_slope_is_that_of_the_probability(GateEstimator estimator)
    {
        using var scope = NewDisposeScope();
        using var stream = new RandomSource(5).Stream("estimators");
        foreach (float logit in new[] { -4f, -3f, -1f, 1f })
        {
            var draw = GateSampler.Sample(estimator, full(200_000, logit), stream.Uniform(200_000), 3);
            double open = Sigmoid(logit + 3);
            Assert.Equal(open, draw.Gates.mean().ToDouble(), 5e-3);
            Assert.Equal(open * (1 - open), draw.Jacobian.mean().ToDouble(), 5e-3);
        }
    }

    [Fact]
    public void Rounded_gates_keep_their_slope()
    {
        using var scope = NewDisposeScope();
        var soft = GateSampler.Sample(GateEstimator.GumbelSigmoid, tensor(new[] { -3f, 0.5f, -6f }), tensor(new[] { 0.9f, 0.5f, 0.1f }),
            temperature: 0.4);
        var hard = GateSampler.Round(soft);
        Assert.All(hard.Gates.data<float>().ToArray(), gate => Assert.True(gate is 0 or 1));
        Assert.Equal(soft.Gates.data<float>().Select(gate => MathF.Round(gate)), hard.Gates.data<float>());
        Assert.Equal(soft.Jacobian.data<float>().ToArray(), hard.Jacobian.data<float>().ToArray());
    }

    [Fact]
    public void An_unknown_estimator_and_a_temperature_of_zero_are_refused()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<ArgumentOutOfRangeException>(() => GateSampler.Sample((GateEstimator)9, ones(1), ones(1)));
        Assert.Throws<ArgumentOutOfRangeException>(() => GateSampler.Sample(GateEstimator.ReinMax, ones(1), ones(1), temperature: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            GateSampler.Sample(GateEstimator.ReinMax, ones(1), ones(1), inverseTemperature: 0));
    }

    private static void Each(Action<double, double, double, double, double> check) =>
        Gen.Select(Gen.Float[-8, 4], Gen.Float[0.01f, 0.99f], Gen.Float[0, 4], Gen.Float[0.3f, 2], Gen.Float[0.5f, 4])
            .Sample((logit, uniform, offset, temperature, sharpness) =>
                check(logit, uniform, offset, temperature, sharpness), iter: 300, threads: 1);

    private static (double Gate, double Slope) Draw(GateEstimator estimator, double logit, double uniform, double offset,
        double temperature, double sharpness)
    {
        using var scope = NewDisposeScope();
        var draw =
            GateSampler.Sample(estimator, tensor(new[] { (float)logit }), tensor(new[] { (float)uniform }), offset, temperature, sharpness);
        return (draw.Gates.ToSingle(), draw.Jacobian.ToSingle());
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));
}
