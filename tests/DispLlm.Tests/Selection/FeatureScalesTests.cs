namespace DispLlm.Tests.Selection;

public sealed class FeatureScalesTests
{
    private static readonly DecoderSpec s_spec = SelectionModels.Spec(
        hidden: 4, mlp: 6, blocks: 2, heads: 2, keyValueHeads: 1, headSize: 2);
    private static readonly GateLayout s_layout = new(s_spec);

    [Fact]
    public void Values_are_copied_and_read_by_site()
    {
        float[] values = [.. Enumerable.Range(0, s_layout.Count).Select(i => (float)i)];
        var scales = new FeatureScales(s_layout, values);
        values[0] = 7;
        Assert.Equal(0, scales.Values[0]);
        Assert.Equal([12f, 13, 14, 15, 16, 17], scales.ForSite(0, SelectionSite.MlpHidden).ToArray());
        Assert.Equal([22f], scales.ForSite(0, SelectionSite.AttentionGroups).ToArray());
        Assert.Equal(23, scales.ForSite(1, SelectionSite.AttentionInput)[0]);
        values[0] = 0;
        Assert.Equal(new FeatureScales(s_layout, values), scales);
        Assert.Equal(new FeatureScales(s_layout, values).GetHashCode(), scales.GetHashCode());
        values[^1] = -1;
        Assert.NotEqual(new FeatureScales(s_layout, values), scales);
        Assert.Equal("scales from 0 to 45", scales.ToString());
    }

    [Fact]
    public void Wrong_count_and_values_that_are_not_finite_are_refused()
    {
        Assert.Contains(
            "3 scales for a model of 46 gates",
            Assert.Throws<SelectionException>(() => new FeatureScales(s_layout, [1, 1, 1])).Message,
            StringComparison.Ordinal);
        float[] values = new float[s_layout.Count];
        values[24] = float.NaN;
        Assert.Contains(
            "block 1 S1 (AttentionInput): the scale of gate 1 is NaN",
            Assert.Throws<SelectionException>(() => new FeatureScales(s_layout, values)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Scales_are_nearer_to_one_where_less_is_removed()
    {
        float[] values = [.. Enumerable.Repeat(1f, s_layout.Count)];
        (values[0], values[1]) = (1.4f, 0.5f);
        var scales = new FeatureScales(s_layout, values);
        Assert.Equal([1.1f, 0.875f, 1f], scales.RescaledFor(0.125, 0.5).Values[..3].ToArray());
        Assert.Equal(scales, scales.RescaledFor(0.8, 0.5));
        Assert.All(scales.RescaledFor(0, 0.5).Values.ToArray(), scale => Assert.Equal(1, scale));
        Assert.Equal(scales, scales.RescaledFor(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => scales.RescaledFor(-0.1, 0.5));
        Assert.Throws<ArgumentOutOfRangeException>(() => scales.RescaledFor(0.1, 1.5));
    }

    [Fact]
    public void Plan_refuses_scales_of_another_model_and_scales_before_a_norm()
    {
        var plan = SelectionPlan.Dense(s_spec);
        var other = new GateLayout(SelectionModels.Spec(hidden: 4, mlp: 6, blocks: 1, heads: 2, keyValueHeads: 1, headSize: 2));
        Assert.Contains(
            "23 scales for a model of 46 gates",
            Assert.Throws<SelectionException>(() => plan with { Scales = new FeatureScales(other, new float[other.Count]) }).Message,
            StringComparison.Ordinal);

        float[] values = [.. Enumerable.Repeat(1f, s_layout.Count)];
        values[s_layout[1, SelectionSite.MlpHidden].Offset] = 2;
        var first = plan with { NormOrder = NormOrder.SelectThenNorm, Scales = new FeatureScales(s_layout, values) };
        first.Validate(s_spec);
        values[s_layout[1, SelectionSite.MlpInput].Offset] = 2;
        var scales = new FeatureScales(s_layout, values);
        (plan with { Scales = scales }).Validate(s_spec);
        Assert.Contains(
            "block 1 S3",
            Assert.Throws<SelectionException>(() => (first with { Scales = scales }).Validate(s_spec)).Message,
            StringComparison.Ordinal);
    }
}
