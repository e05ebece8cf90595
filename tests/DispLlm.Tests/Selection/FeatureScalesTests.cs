namespace DispLlm.Tests.Selection;

public sealed class FeatureScalesTests
{
    private static readonly DecoderSpec s_spec = SelectionModels.Spec(hidden: 4, mlp: 6, blocks: 2, heads: 2, keyValueHeads: 1, headSize: 2);
    private static readonly GateLayout s_layout = new(s_spec);

    [Fact]
    public void They_are_a_copy_that_knows_each_site()
    {
        float[] values = [.. Enumerable.Range(0, s_layout.Count).Select(i => (float)i)];
        var gains = new FeatureScales(s_layout, values);
        values[0] = 7;
        Assert.Equal(0, gains.Values[0]);
        Assert.Equal([12f, 13, 14, 15, 16, 17], gains.ForSite(0, SelectionSite.MlpHidden).ToArray());
        Assert.Equal(22, gains.ForSite(1, SelectionSite.AttentionInput)[0]);
        values[0] = 0;
        Assert.Equal(new FeatureScales(s_layout, values), gains);
        Assert.Equal(new FeatureScales(s_layout, values).GetHashCode(), gains.GetHashCode());
        values[^1] = -1;
        Assert.NotEqual(new FeatureScales(s_layout, values), gains);
        Assert.Equal("gains from 0 to 43", gains.ToString());
    }

    [Fact]
    public void Too_few_and_infinite_ones_are_refused()
    {
        Assert.Contains("3 gains for a model of 44 gates", Assert.Throws<SelectionException>(() => new FeatureScales(s_layout, [1, 1, 1])).Message, StringComparison.Ordinal);
        float[] values = new float[s_layout.Count];
        values[23] = float.NaN;
        Assert.Contains("block 1 S1 (AttentionInput): the gain of gate 1 is NaN", Assert.Throws<SelectionException>(() => new FeatureScales(s_layout, values)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_less_is_removed_they_make_up_for_less()
    {
        float[] values = [.. Enumerable.Repeat(1f, s_layout.Count)];
        (values[0], values[1]) = (1.4f, 0.5f);
        var gains = new FeatureScales(s_layout, values);
        Assert.Equal([1.1f, 0.875f, 1f], gains.RescaledFor(0.125, 0.5).Values[..3].ToArray());
        Assert.Equal(gains, gains.RescaledFor(0.8, 0.5));
        Assert.All(gains.RescaledFor(0, 0.5).Values.ToArray(), gain => Assert.Equal(1, gain));
        Assert.Equal(gains, gains.RescaledFor(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => gains.RescaledFor(-0.1, 0.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => gains.RescaledFor(0.1, 1.5));
    }

    [Fact]
    public void A_plan_takes_only_those_of_its_model_and_none_in_front_of_a_norm()
    {
        var plan = SelectionPlan.Dense(s_spec);
        var other = new GateLayout(SelectionModels.Spec(hidden: 4, mlp: 6, blocks: 1, heads: 2, keyValueHeads: 1, headSize: 2));
        Assert.Contains(
            "22 gains for a model of 44 gates",
            Assert.Throws<SelectionException>(() => plan with { Scales = new FeatureScales(other, new float[other.Count]) }).Message,
            StringComparison.Ordinal);

        float[] values = [.. Enumerable.Repeat(1f, s_layout.Count)];
        values[s_layout[1, SelectionSite.MlpHidden].Offset] = 2;
        var first = plan with { NormOrder = NormOrder.SelectThenNorm, Scales = new FeatureScales(s_layout, values) };
        first.Validate(s_spec);
        values[s_layout[1, SelectionSite.MlpInput].Offset] = 2;
        var gains = new FeatureScales(s_layout, values);
        (plan with { Scales = gains }).Validate(s_spec);
        Assert.Contains("block 1 S3", Assert.Throws<SelectionException>(() => (first with { Scales = gains }).Validate(s_spec)).Message, StringComparison.Ordinal);
    }
}
