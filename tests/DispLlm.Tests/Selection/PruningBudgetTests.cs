using Xunit;

namespace DispLlm.Tests;

public class PruningBudgetTests
{
    private static readonly ParameterCounter Mha = new(SelectionModels.LlamaMha);

    [Theory]
    [InlineData(0.0, 17408)]
    [InlineData(0.5, 8704)]
    [InlineData(0.3, 12185)]
    [InlineData(0.999, 17)]
    public void A_ratio_leaves_the_rest_rounded_down(double ratio, long target) =>
        Assert.Equal(target, PruningBudget.FromRatio(ratio).TargetFor(Mha));

    [Fact]
    public void A_fraction_is_the_decimal_number_it_is_written_as()
    {
        // 10 * (1 - 0.9) in binary floating point is 0.99999...; of a model of 10 weights one must stay, not none.
        var ten = new ParameterCounter(SelectionModels.Spec(hidden: 1, mlp: 2, blocks: 1, heads: 1, keyValueHeads: 1, headSize: 1));
        Assert.Equal(10, ten.Dense.BlockWeights);
        for (int tenths = 0; tenths < 10; tenths++)
        {
            Assert.Equal(10 - tenths, PruningBudget.FromRatio(tenths / 10.0).TargetFor(ten));
            Assert.Equal(10 - tenths, PruningBudget.FromKeepFraction((10 - tenths) / 10.0).TargetFor(ten));
        }
    }

    [Fact]
    public void The_scope_decides_what_the_fraction_is_of()
    {
        var half = PruningBudget.FromKeepFraction(0.5);
        Assert.Equal(ParameterScope.BlockWeights, half.Scope);
        Assert.Equal(10832, (half with { Scope = ParameterScope.WholeModel }).TargetFor(Mha));
        Assert.Equal(17408, PruningBudget.FromKeepFraction(1).TargetFor(Mha));
        Assert.Equal(5000, PruningBudget.FromParameters(5000).TargetFor(Mha));
    }

    [Fact]
    public void Values_that_make_no_sense_are_named()
    {
        foreach (double bad in new[] { -0.1, 1.0, 1.5, double.NaN, double.PositiveInfinity, 1e300, 0.99999999999999999 })
        {
            var error = Assert.Throws<BudgetException>(() => PruningBudget.FromRatio(bad));
            Assert.Contains("pruning ratio is " + FormattableString.Invariant($"{bad}"), error.Message, StringComparison.Ordinal);
        }

        foreach (double bad in new[] { 0.0, -1, 1.1, double.NaN, 1e-300 })
        {
            var error = Assert.Throws<BudgetException>(() => PruningBudget.FromKeepFraction(bad));
            Assert.Contains("kept fraction is", error.Message, StringComparison.Ordinal);
        }

        Assert.Contains("is 0;", Assert.Throws<BudgetException>(() => PruningBudget.FromParameters(0)).Message, StringComparison.Ordinal);
        Assert.Contains("is -5;", Assert.Throws<BudgetException>(() => PruningBudget.FromParameters(-5)).Message, StringComparison.Ordinal);
        Assert.Throws<BudgetException>(() => PruningBudget.FromRatio(0.5) with { Scope = (ParameterScope)9 });
        var more = Assert.Throws<BudgetException>(() => PruningBudget.FromParameters(17409).TargetFor(Mha));
        Assert.Contains("17409", more.Message, StringComparison.Ordinal);
        Assert.Contains("17408", more.Message, StringComparison.Ordinal);
    }
}
