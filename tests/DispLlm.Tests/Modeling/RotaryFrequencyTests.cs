namespace DispLlm.Tests.Modeling;

/// <summary>
/// Frequencies of scalings, as the formulas of transformers' modeling_rope_utils.py give them in double precision. Fixtures of families
/// prove them in a model.
/// </summary>
[Collection(nameof(RotaryFrequencyTests))]
public sealed class RotaryFrequencyTests
{
    [Theory]
    [InlineData(20, 1.0, 0.1, 0.01, 0.001)]
    [InlineData(32, 1.0, 0.1, 0.01, 0.001)]
    [InlineData(48, 1.0, 0.07937005259840997, 0.006299605249474366, 0.0005)]
    [InlineData(100, 1.0, 0.0575369582664788, 0.0033105015665585236, 0.00019047619047619048)]
    public void Dynamic_scaling_grows_with_the_length(long length, params double[] expected) =>
        Same(expected, RotaryFrequencies.Compute(new RotarySpec(10000, 8, new RotaryScaling.Dynamic(2, 32)), length));

    [Theory]
    [InlineData(true, 1.0, 0.11114246312743267, 0.007905694150420948, 0.0014058533129758727)]
    [InlineData(false, 1.0, 0.07859360932434217, 0.007905694150420948, 0.0014058533129758727)]
    public void Yarn_divides_slow_turns_and_keeps_fast_ones(bool truncate, params double[] expected) => Same(
        expected, RotaryFrequencies.Compute(new RotarySpec(1e6, 16, new RotaryScaling.Yarn(4, 64, 32, 1, 1, truncate)), 0)[..4]);

    [Fact]
    public void Longrope_changes_its_factors_beyond_the_original_length()
    {
        var spec = new RotarySpec(10000, 4, new RotaryScaling.LongRope([1, 2], [4, 5], 16, 1));
        Same([1, 0.005], RotaryFrequencies.Compute(spec, 16));
        Same([0.25, 0.002], RotaryFrequencies.Compute(spec, 17));
    }

    [Theory]
    [InlineData("""{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}""", 1.1386294361119891)]
    [InlineData("""{"rope_type": "yarn", "factor": 4.0, "mscale": 2.0, "mscale_all_dim": 1.0}""", 1.1217514)]
    [InlineData("""{"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5}""", 1.5)]
    [InlineData("""{"type": "longrope", "short_factor": [1, 1], "long_factor": [2, 2], "original_max_position_embeddings": 64}""", 1.0801234)]
    public void Cosine_and_sine_have_the_factor_of_the_scaling(string scaling, double factor)
    {
        var config = ModelConfig.Parse($$"""{"max_position_embeddings": 128, "rope_scaling": {{scaling}}}""", "test.json");
        var spec = ConfigReader.ReadRotary(config, 4, new DecoderConfigKeys(), null);
        Assert.Equal(factor, spec.Scaling.AttentionFactor, 1e-6);
    }

    private static void Same(double[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-6 * pair.First));
    }
}
