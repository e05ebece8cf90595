using TorchSharp;

namespace DispLlm.Tests.Selection;

/// <summary>Budgets in every layout, on models as they are used.</summary>
[Collection(nameof(LayoutBudgetTests))]
public sealed class LayoutBudgetTests
{
    private static readonly DecoderSpec[] s_models = [SelectionModels.SmolLm2, .. SelectionModels.SmallModels];

    public static TheoryData<PruningLayout> Layouts => [.. Enum.GetValues<PruningLayout>()];

    [Theory]
    [InlineData("small-llama", 0)]
    [InlineData("small-opt", 1)]
    [InlineData("small-phi", 2)]
    public void The_small_models_are_those_that_were_trained(string model, int index)
    {
        using var folder = CheckpointFolder.Open(SharedData.Path("models", model));
        var spec = DecoderSpec.Read(folder, folder.Config, ModelFamilies.BuiltIn.Resolve(folder.Config));
        Assert.Equal(ModelShape.FromSpec(spec), ModelShape.FromSpec(SelectionModels.SmallModels[index]));
    }

    /// <summary>At most a thousandth of the budget is left; where no selection is that small, the closest is named, and is met.</summary>
    [Theory]
    [MemberData(nameof(Layouts))]
    public void A_budget_is_met_within_a_thousandth_from_below(PruningLayout layout)
    {
        int met = 0;
        foreach (var (spec, scores) in s_models.SelectMany(spec => new[]
        {
            (spec, SelectionModels.RandomScores(spec, 3)), (spec, SelectionModels.MeasuredScores(spec, 4)),
        }))
        {
            foreach (var budget in from scope in Enum.GetValues<ParameterScope>()
                                   from ratio in new[] { 0.2, 0.3, 0.5, 0.7 }
                                   select PruningBudget.FromRatio(ratio) with { Scope = scope })
            {
                var options = new BudgetProjectionOptions { Layout = layout };
                try
                {
                    BudgetProjection.EnsureReachable(spec, budget, options);
                }
                catch (BudgetException error)
                {
                    AssertClosest(spec, scores, budget, options, error);
                    continue;
                }

                var plan = BudgetProjection.Project(spec, scores, budget, options);
                long target = budget.TargetFor(new ParameterCounter(spec)), kept = plan.KeptParameters[budget.Scope];
                Assert.True(
                    kept <= target && kept >= target - (target / 1000), $"{layout}, {spec.HiddenSize}, {budget}: {kept} of {target}");
                met++;
            }
        }

        Assert.InRange(met, layout == PruningLayout.Mlp ? 40 : 60, 96);
    }

    [Theory]
    [InlineData(PruningLayout.Blocks)]
    [InlineData(PruningLayout.All)]
    public void The_fewest_groups_of_a_block_are_kept(PruningLayout layout)
    {
        var spec = SelectionModels.SmolLm2;
        var scores = SelectionModels.MeasuredScores(spec, 4);
        var budget = PruningBudget.FromRatio(0.5);
        SelectionPlan Project(int fewest) => BudgetProjection.Project(spec, scores, budget, new BudgetProjectionOptions
        {
            Layout = layout,
            Constraints = new BudgetConstraints { MinAttentionGroups = fewest },
        });

        var free = Project(0);
        Assert.Contains(free.Blocks, block => block.AttentionGroups.Count == 0);
        Assert.Null(free.Provenance.Notes);
        foreach (int fewest in new[] { 1, 2, 3, 9 })
        {
            var plan = Project(fewest);
            Assert.All(plan.Blocks, block => Assert.InRange(block.AttentionGroups.Count, Math.Min(fewest, 3), 3));
            Assert.InRange(plan.KeptFraction(), 0.4995, 0.5);
            Assert.Equal($"at least {fewest} key-value groups in a block", plan.Provenance.Notes);
        }

        Assert.Contains("-1", Assert.Throws<BudgetException>(() => Project(-1)).Message, StringComparison.Ordinal);
    }

    /// <summary>What the fewest groups cost is part of the smallest selection.</summary>
    [Fact]
    public void The_fewest_groups_bound_the_budget()
    {
        var spec = SelectionModels.LlamaMha;
        long Smallest(int fewest) => Assert.Throws<BudgetException>(() => BudgetProjection.EnsureReachable(
            spec, PruningBudget.FromRatio(0.9999), new BudgetProjectionOptions
            {
                Layout = PruningLayout.All,
                Constraints = new BudgetConstraints { MinAttentionGroups = fewest },
            })).SmallestReachable!.Value;

        // Two blocks; a group is three heads of 8 rows that read one feature, and 8 columns that write one. The MLP keeps 3 weights.
        Assert.Equal(2 * 3, Smallest(0));
        Assert.Equal(2 * (3 + 32), Smallest(1));
        Assert.Equal(2 * (3 + (4 * 32)), Smallest(9));
    }

    /// <summary>Without groups nothing of what attention reads or writes is of use; a bias that it still writes is.</summary>
    [Fact]
    public void A_block_without_attention_keeps_least_of_what_it_would_read()
    {
        foreach (var spec in new[] { SelectionModels.SmolLm2, SelectionModels.SmallModels[1] })
        {
            // Its groups are the last that the budget takes, its other features the first.
            var layout = new GateLayout(spec);
            float[] scores = SelectionModels.MeasuredScores(spec, 4).Values.ToArray();
            foreach (var site in layout.Sites.Where(site => site.Block == 1))
            {
                scores.AsSpan(site.Offset, site.Size).Fill(site.Site == SelectionSite.AttentionGroups ? -100 : 100);
            }

            var plan = BudgetProjection.Project(
                spec, new SelectionScores(layout, scores), PruningBudget.FromRatio(0.5),
                new BudgetProjectionOptions { Layout = PruningLayout.All, WidthMultiple = 8 });
            Assert.Empty(plan.Blocks[1].AttentionGroups);
            Assert.Equal(8, plan.Blocks[1].AttentionInput.Count);
            Assert.Equal(spec.AttentionOutputBias ? spec.HiddenSize : 8, plan.Blocks[1].AttentionOutput.Count);
            Assert.Equal(spec.HiddenSize, plan.Blocks[1].MlpInput.Count);
        }
    }

    [Fact]
    public void One_stream_is_the_same_in_every_block_and_stock_has_sizes_of_an_ordinary_model()
    {
        foreach (var (spec, ratio, layout) in from spec in s_models
                                              from ratio in new[] { 0.2, 0.3, 0.5 }
                                              from layout in new[] { PruningLayout.Stream, PruningLayout.Stock }
                                              select (spec, ratio, layout))
        {
            var plan = BudgetProjection.Project(
                spec, SelectionModels.MeasuredScores(spec, 7), PruningBudget.FromRatio(ratio), new() { Layout = layout });
            var stream = plan.Blocks[0].AttentionInput;
            Assert.InRange(stream.Count, 1, spec.HiddenSize - 1);
            Assert.Equal(NormOrder.SelectThenNorm, plan.NormOrder);
            Assert.All(plan.Blocks, block =>
            {
                Assert.All(SelectionSites.All.Where(site => site.Descriptor().IsOnStream), site => Assert.Equal(stream, block[site]));
                Assert.Equal(spec.NumKeyValueHeads, block.AttentionGroups.Count);
                Assert.True(layout == PruningLayout.Stream || block.MlpHidden.Count == plan.Blocks[0].MlpHidden.Count);
            });
            Assert.True(layout == PruningLayout.Stream || stream.Count % spec.NumAttentionHeads == 0, $"{stream.Count}");
        }
    }

    /// <summary>MLP widths are multiples of 32, or of as much as the budget allows; and of what is asked for in any case.</summary>
    [Fact]
    public void Stock_prefers_round_MLP_widths()
    {
        int round = 0;
        foreach (var (spec, ratio) in from spec in s_models from ratio in new[] { 0.2, 0.3, 0.5, 0.7 } select (spec, ratio))
        {
            SelectionPlan Project(int multiple) => BudgetProjection.Project(
                spec, SelectionModels.MeasuredScores(spec, 7), PruningBudget.FromRatio(ratio),
                new() { Layout = PruningLayout.Stock, WidthMultiple = multiple });
            var plan = Project(1);
            int mlp = plan.Blocks[0].MlpHidden.Count;
            long target = PruningBudget.FromRatio(ratio).TargetFor(new ParameterCounter(spec));
            foreach (int multiple in new[] { 32, 16, 8, 4, 2 }.TakeWhile(multiple => mlp % multiple != 0))
            {
                var narrower = plan.Widths().Select(widths => widths.With(SelectionSite.MlpHidden, mlp - (mlp % multiple))).ToArray();
                long kept = new ParameterCounter(spec).Count(narrower, PruningLayout.Stock).BlockWeights;
                Assert.True(kept < target - (target / 1000), $"{mlp} could be a multiple of {multiple}.");
            }

            round += mlp % 32 == 0 ? 1 : 0;
            var asked = Project(48);
            Assert.True(asked.Blocks[0].MlpHidden.Count is var width && (width % 48 == 0 || width == spec.IntermediateSize), $"{width}");
            Assert.True(asked.KeptFraction() <= 1 - ratio);
        }

        Assert.InRange(round, 1, 16);
    }

    /// <summary>
    /// What the budget loss counts while learning is what the plan counts: in every layout and scope, with norms of heads too.
    /// </summary>
    [Theory]
    [MemberData(nameof(Layouts))]
    public void The_budget_loss_counts_what_a_plan_keeps(PruningLayout layout)
    {
        using var scope = torch.NewDisposeScope();
        var budget = PruningBudget.FromRatio(0.3);
        foreach (var spec in from norm in Enum.GetValues<QueryKeyNorm>()
                             from bias in new[] { false, true }
                             select SelectionModels.LlamaGqaBiasesTied with
                             {
                                 QueryKeyNorm = norm,
                                 QueryKeyNormBias = bias,
                                 AttentionOutputBias = bias,
                                 TieWordEmbeddings = bias,
                             })
        {
            var plan = BudgetProjection.Project(
                spec, SelectionModels.RandomScores(spec, 2), budget, new BudgetProjectionOptions { Layout = layout });
            using var gates = Gates.FromPlan(plan, TorchBackend.Cpu());
            foreach (var counted in Enum.GetValues<ParameterScope>())
            {
                using var regularizer = torch.NewDisposeScope();
                var loss = new BudgetRegularizer(spec, budget with { Scope = counted }, layout);
                Assert.Equal(plan.KeptParameters[counted], loss.KeptParameters(gates.Values).ToDouble());
            }
        }
    }

    private static void AssertClosest(
        DecoderSpec spec, SelectionScores scores, PruningBudget budget, BudgetProjectionOptions options, BudgetException error)
    {
        long smallest = error.SmallestReachable!.Value;
        Assert.Contains($"{smallest} parameters", error.Message, StringComparison.Ordinal);
        Assert.True(smallest > budget.TargetFor(new ParameterCounter(spec)));
        var closest = PruningBudget.FromParameters(smallest) with { Scope = budget.Scope };
        Assert.Equal(smallest, BudgetProjection.Project(spec, scores, closest, options).KeptParameters[budget.Scope]);
        Assert.Throws<BudgetException>(() => BudgetProjection.EnsureReachable(
            spec, PruningBudget.FromParameters(smallest - 1) with { Scope = budget.Scope }, options));
    }
}
