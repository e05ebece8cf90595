using CsCheck;

namespace DispLlm.Tests;

/// <summary>What a selection leaves alone: excluded sites and blocks, and the largest ratio of a block.</summary>
public sealed class BudgetConstraintsTests
{
    private static readonly SelectionSite[] s_sites = Enum.GetValues<SelectionSite>();

    // Those in which every site selects by itself, or not at all.
    private static readonly Gen<PruningLayout> s_layouts =
        Gen.OneOfConst(PruningLayout.Paper, PruningLayout.Blocks, PruningLayout.All, PruningLayout.Mlp);

    private static readonly Gen<BudgetConstraints> s_constraints = Gen.Select(Gen.Int[0, 7], Gen.Int[0, 63], Gen.Int[0, 4],
        Gen.Int[0, 100], Gen.Int[0, 100], Gen.Int[0, 2])
        .Select((blocks, sites, kind, ratio, single, groups) => new BudgetConstraints
        {
            ExcludedBlocks = kind > 1 ? []
                : [.. Enumerable.Range(0, 1).Where(_ => (blocks & 1) == 1).Select(_ => (Index)0),
                .. Enumerable.Range(0, 1).Where(_ => (blocks & 2) == 2).Select(_ => ^1)],
            ExcludedSites = kind > 2 ? [] : [.. s_sites.Where((_, i) => (sites & (1 << i)) != 0 && (blocks & 4) == 4)],
            MinAttentionGroups = groups,
            MaxBlockRatio = kind == 0 ? 1 : ratio / 100.0,
            MaxBlockRatios = kind == 4 ? new Dictionary<int, double> { [0] = single / 100.0 } : new Dictionary<int, double>(),
        });

    [Fact]
    public void Constraints_and_budget_hold_exactly() =>
        Gen.Select(
            SelectionModels.Small, s_layouts, Gen.Int[0, 1_000_000], SelectionModels.Scope, Gen.Int[1, 5], Gen.Int[0, 99], s_constraints)
            .Sample((spec, layout, seed, scope, multiple, percent, constraints) =>
            {
                var scores = SelectionModels.RandomScores(spec, seed);
                var budget = PruningBudget.FromRatio(percent / 100.0) with { Scope = scope };
                var options = new BudgetProjectionOptions { WidthMultiple = multiple, Constraints = constraints, Layout = layout };
                try
                {
                    BudgetProjection.EnsureReachable(spec, budget, options);
                }
                catch (BudgetException error)
                {
                    // The smallest count that the error names can be asked for, and nothing below it.
                    budget = PruningBudget.FromParameters(error.SmallestReachable!.Value) with { Scope = scope };
                    Assert.Throws<BudgetException>(() =>
                        BudgetProjection.EnsureReachable(spec,
                        PruningBudget.FromParameters(error.SmallestReachable!.Value - 1) with { Scope = scope }, options));
                }

                var counter = new ParameterCounter(spec);
                long target = budget.TargetFor(counter);
                var plan = BudgetProjection.Project(spec, scores, budget, options);
                var widths = plan.Widths().ToArray();
                Assert.True(plan.KeptParameters[scope] <= target, $"{plan.KeptParameters[scope]} of {target}");
                for (int block = 0; block < spec.NumLayers; block++)
                {
                    foreach (var site in s_sites)
                    {
                        int width = widths[block][site], size = plan.Model.SiteSize(site);
                        bool ofGroups = site == SelectionSite.AttentionGroups;
                        int step = ofGroups ? 1 : multiple, least = ofGroups ? Math.Min(constraints.MinAttentionGroups, size) : 1;
                        Assert.True(width >= least && (width % step == 0 || width == size), $"block {block} {site}: {width}");
                        bool excluded = constraints.ExcludedSites.Contains(site)
                            || constraints.ExcludedBlocks.Any(index => index.GetOffset(spec.NumLayers) == block);
                        Assert.True(
                            width == size || (!excluded && layout.Selects(site)), $"block {block} {site} keeps {width} of {size}");

                        // What is left of the budget is less than one more chunk, but where there is no attention and nothing is kept for
                        // it to read and write.
                        var wider = widths.ToArray();
                        wider[block] = wider[block].With(site, Math.Min(width + step, size));
                        bool meansNothing = widths[block][SelectionSite.AttentionGroups] == 0
                            && site is SelectionSite.AttentionInput or SelectionSite.AttentionOutput or SelectionSite.AttentionGroups;
                        Assert.True(
                            width == size || meansNothing || counter.Count(wider)[scope] > target, $"block {block} {site} could be wider");
                    }

                    var single = new ParameterCounter(spec with { NumLayers = 1 });
                    long dense = single.Dense[scope] - single.Count([SiteMap.Create(_ =>
                        0)])[scope], removed = single.Dense[scope] - single.Count([widths[block]])[scope];
                    double limit = constraints.MaxBlockRatios.TryGetValue(block, out double own) ? own : constraints.MaxBlockRatio;
                    Assert.True(removed <= dense * (decimal)limit, $"block {block} loses {removed} of {dense}, more than {limit}");
                }
            });

    [Fact]
    public void Constraints_are_part_of_the_plan_s_provenance_only_where_there_are_any()
    {
        var spec = SelectionModels.LlamaMha;
        var scores = SelectionModels.RandomScores(spec, 1);
        var plain = BudgetProjection.Project(spec, scores, PruningBudget.FromRatio(0.3));
        var none = BudgetProjection.Project(spec, scores, PruningBudget.FromRatio(0.3),
            new BudgetProjectionOptions { Constraints = new BudgetConstraints() });
        Assert.Equal(plain.ToJson(), none.ToJson());
        var constraints = new BudgetConstraints
        {
            ExcludedBlocks = [0, ^1],
            ExcludedSites = [SelectionSite.AttentionInput],
            MaxBlockRatio = 0.6,
            MaxBlockRatios = new Dictionary<int, double> { [1] = 0.5 },
        };
        Assert.Equal("excluded blocks 0, ^1; excluded sites AttentionInput; at most 0.6 of a block removed; at most 0.5 of block 1 removed",
            constraints.ToString());
        Assert.Equal(constraints, constraints with { MaxBlockRatio = 0.6 });
        Assert.NotEqual(constraints, constraints with { MaxBlockRatio = 0.7 });
        var limited = BudgetProjection.Project(spec, scores, PruningBudget.FromRatio(0.1),
            new BudgetProjectionOptions { Constraints = constraints with { ExcludedBlocks = [] }, Notes = "mine" });
        Assert.StartsWith("mine; excluded sites", limited.Provenance.Notes, StringComparison.Ordinal);
    }

    [Fact]
    public void Constraints_that_a_model_cannot_have_are_refused()
    {
        var spec = SelectionModels.LlamaMha;
        void Project(BudgetConstraints constraints, bool shared = false) => BudgetProjection.EnsureReachable(
            spec, PruningBudget.FromRatio(0.3), new BudgetProjectionOptions
            {
                Constraints = constraints,
                Layout = shared ? PruningLayout.Stream : PruningLayout.Paper,
            });
        Assert.Contains("block 2", Assert.Throws<BudgetException>(() => Project(new BudgetConstraints { ExcludedBlocks = [2] })).Message,
            StringComparison.Ordinal);
        Assert.Throws<BudgetException>(() =>
            Project(new BudgetConstraints { MaxBlockRatios = new Dictionary<int, double> { [-1] = 0.5 } }));
        Assert.Throws<BudgetException>(() => Project(new BudgetConstraints { ExcludedSites = [(SelectionSite)9] }));
        Assert.Throws<BudgetException>(() => new BudgetConstraints { MaxBlockRatio = 1.5 });
        Assert.Throws<BudgetException>(() => new BudgetConstraints { MaxBlockRatios = new Dictionary<int, double> { [0] = double.NaN } });
        Assert.Throws<BudgetException>(() => Project(new BudgetConstraints { ExcludedBlocks = [0] }, shared: true));
        Assert.Contains("excluded blocks 0, 1",
            Assert.Throws<BudgetException>(() => Project(new BudgetConstraints { ExcludedBlocks = [0, 1] })).Message,
            StringComparison.Ordinal);
    }
}
