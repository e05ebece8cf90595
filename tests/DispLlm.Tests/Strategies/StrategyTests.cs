using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Strategies;

/// <summary>What every strategy promises, and what each one measures.</summary>
public sealed class StrategyTests
{
    private static readonly TokenCorpus s_text = TokenCorpus.FromTokens([.. Enumerable.Range(0, 1500).Select(i => 3 + i * i % 61)]);

    private static readonly HypernetworkSelection s_learned = new()
    {
        Steps = 6,
        SequenceLength = 32,
        InitialScores = new FisherSelection { Rounds = 1, SequencesPerRound = 2, SequenceLength = 32 },
    };

    private static readonly Dictionary<string, ISelectionStrategy> s_strategies = new()
    {
        ["random"] = new RandomSelection(),
        ["magnitude"] = new MagnitudeSelection(),
        ["activation"] = new ActivationMagnitudeSelection { Sequences = 2, SequenceLength = 32 },
        ["first order"] = new FirstOrderSelection { Sequences = 2, SequenceLength = 32 },
        ["fisher"] = new FisherSelection { Rounds = 2, SequencesPerRound = 2, SequenceLength = 32 },
        ["learned"] = s_learned,
        ["paper"] = HypernetworkSelection.Paper with { Steps = 6, SequenceLength = 32 },
        ["released"] = HypernetworkSelection.ReferenceImplementation with { Steps = 6, SequenceLength = 32 },
        ["straight-through"] = Learned(options => options with { Estimator = GateEstimator.StraightThrough }),
        ["soft"] = Learned(options => options with { Estimator = GateEstimator.GumbelSigmoid, Temperature = 0.4 }),
        ["no recurrence"] = s_learned with { Ablations = new HypernetworkAblations { Kind = HypernetworkKind.Mlp } },
        ["no hypernetwork"] = s_learned with { Ablations = new HypernetworkAblations { Kind = HypernetworkKind.None } },
        ["distilled"] = Learned(options =>
            options with { DistillationWeight = 0.5, BudgetWarmupFraction = 0.5, GradientAccumulationSteps = 2 }),
    };

    private static HypernetworkSelection Learned(Func<HypernetworkOptions, HypernetworkOptions> change) =>
        s_learned with { Options = change(s_learned.Options) };

    public static TheoryData<string> Names => [.. s_strategies.Keys];

    /// <summary>
    /// Every strategy in the default layout, two that measure and learn in every layout, the others that score where all sites select.
    /// </summary>
    public static TheoryData<string, PruningLayout> Runs => new(
        from name in s_strategies.Keys
        from layout in Enum.GetValues<PruningLayout>()
        where layout == PruningLayout.Paper || name is "fisher" or "learned"
            || (layout == PruningLayout.All && name is "random" or "magnitude" or "activation" or "first order")
        select (name, layout));

    [Theory]
    [MemberData(nameof(Runs))]
    public void It_meets_any_budget_exactly_and_honours_widths(string name, PruningLayout layout)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-gqa-biases-tied"));
        Gen.Select(Gen.Double[0.1, 0.7], Gen.Enum<ParameterScope>(), Gen.OneOfConst(1, 4),
            Gen.Int[0, 99]).Sample((keep, scope, multiple, seed) =>
        {
            var budget = PruningBudget.FromKeepFraction(keep) with { Scope = scope };
            var options = new BudgetProjectionOptions { WidthMultiple = multiple, Layout = layout };
            try
            {
                BudgetProjection.EnsureReachable(model.Spec, budget, options);
            }
            catch (BudgetException)
            {
                return;
            }

            var plan = Select(model, s_strategies[name], budget, seed, multiple, layout).Plan;
            long target = budget.TargetFor(new ParameterCounter(model.Spec));
            Assert.Equal(layout, plan.Layout);
            Assert.True(plan.KeptParameters[scope] <= target, $"{plan.KeptParameters[scope]} of {target}");
            int Multiple(SelectionSite site) => site == SelectionSite.AttentionGroups ? 1
                : layout == PruningLayout.Stock && site != SelectionSite.MlpHidden ? model.Spec.NumAttentionHeads
                : multiple;
            Assert.All(plan.Widths(), widths => Assert.All(Enum.GetValues<SelectionSite>(), site => Assert.True(
                (widths[site] > 0 || site == SelectionSite.AttentionGroups)
                    && (widths[site] % Multiple(site) == 0 || widths[site] == plan.Model.SiteSize(site)),
                $"{site}: {widths[site]}")));
        }, iter: 5, threads: 1);
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public void The_same_seed_gives_the_same_scores(string name, PruningLayout layout)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("phi-2-style"));
        var budget = PruningBudget.FromRatio(0.4);
        var first = Select(model, s_strategies[name], budget, 3, layout: layout);
        var second = Select(model, s_strategies[name], budget, 3, layout: layout);
        Assert.Equal(first.Scores.Values.ToArray(), second.Scores.Values.ToArray());
        Assert.Equal(first.Plan.ToJson(), second.Plan.ToJson());
        Assert.True(first.Scores.Values.ToArray().Distinct().Count() > 10, "The scores tell hardly any gates apart.");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_budget_that_cannot_be_met_is_refused_before_any_work(string name)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("opt-pre-norm"));
        var seen = new Steps();
        var error = Assert.Throws<BudgetException>(() => s_strategies[name].Select(new SelectionRequest
        {
            Model = model,
            Budget = PruningBudget.FromRatio(0.9999),
            Calibration = s_text,
            Progress = seen,
        }));
        Assert.NotNull(error.SmallestReachable);
        Assert.Empty(seen.Seen);
    }

    [Theory]
    [InlineData("activation", 2)]
    [InlineData("first order", 2)]
    [InlineData("fisher", 4)]
    [InlineData("learned", 2)]
    [InlineData("paper", 0)]
    public async Task Every_measured_sequence_is_reported(string name, int sequences)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var seen = new List<PruningProgress>();
        await PruningPipeline.For(model).WithPruningRatio(0.4).WithCalibration(s_text).WithStrategy(s_strategies[name])
            .WithProgress(new Callback<PruningProgress>(report =>
                seen.AddRange(report.Phase == PruningPhase.Measuring ? [report] : []))).RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(Enumerable.Range(1, sequences), seen.Select(report => report.Step));
        Assert.All(seen, report => Assert.True(report.Steps == sequences && report.TimeLeft >= TimeSpan.Zero));
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public void It_leaves_no_tensor_undisposed(string name, PruningLayout layout)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        long Growth()
        {
            long before = LiveTensors.Before();
            Select(model, s_strategies[name], PruningBudget.FromRatio(0.4), 0, layout: layout);
            return Tensor.TotalCount - before;
        }

        // A Parameter's source tensor is counted as live for ever, though it holds no memory: the hypernetwork's own.
        long Counted()
        {
            long before = LiveTensors.Before();
            if (s_strategies[name] is HypernetworkSelection learned)
            {
                new HypernetworkTrainer(model, PruningBudget.FromRatio(0.4), learned.Options, learned.Ablations, BudgetConstraints.None,
                    layout, 0, NormOrder.NormThenSelect, null).Dispose();
            }

            return Tensor.TotalCount - before;
        }

        Growth();
        Assert.Equal(Counted(), Growth());
    }

    [Theory]
    [InlineData(PruningLayout.Paper)]
    [InlineData(PruningLayout.All)]
    public void Fisher_scores_are_squared_gate_gradients_per_parameter(PruningLayout layout)
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var strategy = new FisherSelection { Rounds = 1, SequencesPerRound = 3, SequenceLength = 32 };
        var outcome = Select(model, strategy, PruningBudget.FromRatio(0.4), 5, layout: layout);
        var windows = new SequenceSampler(s_text.Tokenize(CorpusContext.For(model), default), 32, 1, model.Backend.Random(5));
        Tensor sum = zeros(model.GateLayout.Count);
        for (int i = 0; i < 3; i++)
        {
            using var gradients = GateGradients.Compute(model, ones(model.GateLayout.Count), NormOrder.NormThenSelect, [windows.Batch(i)]);
            sum += gradients.Gradient.pow(2);
        }

        var counter = new ParameterCounter(model.Spec);
        foreach (var site in model.GateLayout.Sites.Where(site => layout.Selects(site.Site)))
        {
            long cost = counter.CostPerIndex(site.Site, counter.Shape.DenseWidths, ParameterScope.BlockWeights);
            float[] expected = sum.narrow(0, site.Offset, site.Size).data<float>().Select(value =>
                (float)Math.Log(value / (double)cost + 1e-30)).ToArray();
            Assert.Equal(expected, outcome.Scores.ForSite(site.Block, site.Site).ToArray(), (a, b) => Math.Abs(a - b) < 1e-3);
        }
    }

    [Fact]
    public void Activation_is_the_mean_square_of_what_passes_the_gate()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        Tensor tokens = (arange(40, ScalarType.Int64) * 7).remainder(model.Spec.VocabularySize).view(2, 20);
        Tensor stream = model.Weight(WeightRole.TokenEmbedding).index(tokens);
        Tensor normed = stream * (stream.pow(2).mean([-1L],
            keepdim: true) + model.Spec.NormEpsilon).rsqrt() * model.Weight(WeightRole.AttentionNorm, 0);
        var first = model.GateLayout[0, SelectionSite.AttentionInput];
        Tensor activity = model.MeanSquareActivations(tokens);
        Assert.Equal([model.GateLayout.Count], activity.shape);
        Close.Within(1e-5, normed.pow(2).mean([0L, 1L]), activity.narrow(0, first.Offset, first.Size), "S1 of block 0");
        Assert.True(activity.min().ToSingle() > 0);
    }

    [Fact]
    public void An_unused_feature_comes_last_by_activation_and_by_gradient()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using (no_grad())
        {
            // Hidden feature 5 of block 1 is never written, nor are group 2's values; stream feature 7 is never read by attention of
            // block 0.
            using var hidden = model.Weight(WeightRole.MlpUp, 1).narrow(0, 5, 1);
            hidden.zero_();
            using var values = model.Weight(WeightRole.Value, 1).narrow(0, 2 * model.Spec.HeadDim, model.Spec.HeadDim);
            values.zero_();
            foreach (var role in new[] { WeightRole.Query, WeightRole.Key, WeightRole.Value })
            {
                using var column = model.Weight(role, 0).narrow(1, 7, 1);
                column.zero_();
            }
        }

        foreach (var (name, layout) in from name in new[] { "activation", "first order", "fisher" }
                                       from layout in new[] { PruningLayout.Paper, PruningLayout.All }
                                       select (name, layout))
        {
            // Of one round: a feature that was cut in an earlier one is as worthless as an unused one.
            var strategy = s_strategies[name] is FisherSelection fisher ? fisher with { Rounds = 1 } : s_strategies[name];
            var scores = Select(model, strategy, PruningBudget.FromRatio(0.1), 0, layout: layout).Scores;
            Assert.Equal(scores.Values.ToArray().Min(), scores.ForSite(1, SelectionSite.MlpHidden)[5]);
            Assert.Equal(scores.Values.ToArray().Min(), scores.ForSite(1, SelectionSite.AttentionGroups)[2], 1e-3);
            Assert.Equal(scores.Values.ToArray().Min(), scores.ForSite(0, SelectionSite.AttentionInput)[7], 1e-3);
        }
    }

    [Theory]
    [InlineData("random")]
    [InlineData("magnitude")]
    [InlineData("activation")]
    [InlineData("first order")]
    [InlineData("fisher")]
    [InlineData("learned")]
    public void Every_strategy_scores_single_groups(string name)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var outcome = Select(model, s_strategies[name], PruningBudget.FromRatio(0.4), 0, layout: PruningLayout.Blocks);
        float[] groups = [.. Enumerable.Range(0, model.Spec.NumLayers)
            .SelectMany(block => outcome.Scores.ForSite(block, SelectionSite.AttentionGroups).ToArray())];
        Assert.Equal(groups.Length, groups.Distinct().Count());
        Assert.All(groups, score => Assert.InRange(score, -40, 40));
        Assert.Contains(outcome.Plan.Blocks, block => block.AttentionGroups.Count < model.Spec.NumKeyValueHeads);
    }

    [Fact]
    public void A_shared_stream_is_one_selection_in_every_block()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var outcome = Select(model, s_learned, PruningBudget.FromRatio(0.4), 0, layout: PruningLayout.Stream);
        var stream = outcome.Plan.Blocks[0].AttentionInput;
        Assert.InRange(stream.Count, 1, model.Spec.HiddenSize - 1);
        foreach (var block in outcome.Plan.Blocks)
        {
            Assert.All([block.AttentionInput, block.AttentionOutput, block.MlpInput, block.MlpOutput], site => Assert.Equal(stream, site));
        }
    }

    [Fact]
    public async Task One_run_serves_other_ratios_with_its_scores()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        foreach (var layout in Enum.GetValues<PruningLayout>().Where(layout => layout != PruningLayout.Mlp))
        {
            var result = await PruningPipeline.For(model).WithPruningRatio(0.4).WithCalibration(s_text).WithStrategy(s_learned)
                .WithLayout(layout).WithWidthMultiple(2)
                .RunAsync(TestContext.Current.CancellationToken);
            Assert.Equal(result.Plan.Blocks, result.PlanFor(0.4).Blocks);
            Assert.Equal(result.Plan.Scales, result.PlanFor(0.4).Scales);
            foreach (double ratio in new[] { 0.1, 0.3, 0.6 })
            {
                var plan = result.PlanFor(ratio);
                double kept = (double)plan.KeptParameters.BlockWeights / result.Before.BlockWeights;
                Assert.InRange(kept, 1 - ratio - 0.05, 1 - ratio);
                Assert.All(plan.Widths(), widths => Assert.Equal(0, widths[SelectionSite.MlpHidden] % 2));
                Assert.Equal(layout, plan.Layout);
            }

            Assert.Throws<BudgetException>(() => result.PlanFor(1.2));
        }
    }

    [Fact]
    public void An_outcome_serves_other_budgets_without_a_pipeline()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var outcome = Select(model, s_learned, PruningBudget.FromRatio(0.4), 0);
        var same = outcome.PlanFor(model.Spec, PruningBudget.FromRatio(0.4));
        Assert.Equal(outcome.Plan.Blocks, same.Blocks);
        Assert.Equal(outcome.Plan.Scales, same.Scales);
        var whole = outcome.PlanFor(model.Spec, PruningBudget.FromRatio(0.2) with { Scope = ParameterScope.WholeModel });
        Assert.InRange(whole.KeptFraction(ParameterScope.WholeModel), 0.79, 0.8);
        Assert.Equal((1 - whole.KeptFraction(ParameterScope.WholeModel)) / (1 - outcome.Plan.KeptFraction(ParameterScope.WholeModel)),
            Weakening(outcome.Plan.Scales!, whole.Scales!), 2e-2);
    }

    [Theory]
    [InlineData("first order")]
    [InlineData("fisher")]
    [InlineData("learned")]
    public void A_gradient_that_is_not_a_number_is_refused_with_its_site(string name)
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using (no_grad())
        {
            model.Weight(WeightRole.MlpDown, 1).fill_(float.NaN);
        }

        var error = Assert.Throws<NumericalException>(() => Select(model, s_strategies[name], PruningBudget.FromRatio(0.4), 0));
        Assert.Equal(1, error.Step);
        Assert.Contains("block 0 S1", error.Where, StringComparison.Ordinal);
    }

    [Fact]
    public void Both_compute_types_choose_plans_of_one_quality() =>
        ChoosePlansOfOneQuality(s_learned with
        {
            Steps = 8,
            SequenceLength = 64,
            InitialScores = new FisherSelection { Rounds = 2, SequencesPerRound = 4, SequenceLength = 64 }
        }, 0.08);

    [Fact]
    [Trait("Category", "Slow")]
    public void Both_compute_types_choose_plans_of_one_quality_with_the_default_rounds() =>
        ChoosePlansOfOneQuality(s_learned with
        {
            Steps = 20,
            SequenceLength = 64,
            InitialScores = new FisherSelection { SequenceLength = 64 }
        }, 0.05);

    private static void ChoosePlansOfOneQuality(HypernetworkSelection strategy, double tolerance)
    {
        var losses = new List<double>();
        int[]? tokens = null;
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            using var chosen = PrunableModel.Load(SampleModel.Folder, TorchBackend.Cpu(type));
            using var evaluated = PrunableModel.Load(SampleModel.Folder);
            tokens ??= SampleModel.Tokens(evaluated);
            var plan = strategy.Select(new SelectionRequest
            {
                Model = chosen,
                Budget = PruningBudget.FromRatio(0.3),
                Calibration = TokenCorpus.FromTokens(tokens)
            }).Plan;
            losses.Add(Perplexity.Evaluate(evaluated, tokens, new PerplexityOptions { WindowLength = 64 },
                Gates.FromPlan(plan, evaluated.Backend)).MeanLoss);
        }

        Assert.Equal(losses[0], losses[1], tolerance);
    }

    /// <summary>The slope of the new scales' deviation from 1 over the old ones'.</summary>
    private static double Weakening(FeatureScales before, FeatureScales after)
    {
        double[] Deviations(FeatureScales gains) => [.. gains.Values.ToArray().Select(gain => gain - 1.0)];
        return Deviations(before).Zip(Deviations(after), (b, a) => a * b).Sum() / Deviations(before).Sum(b => b * b);
    }

    private static SelectionOutcome Select(IPrunableModel model, ISelectionStrategy strategy, PruningBudget budget, long seed,
        int multiple = 1, PruningLayout layout = PruningLayout.Paper) =>
        strategy.Select(new SelectionRequest
        {
            Model = model,
            Budget = budget,
            Calibration = s_text,
            Seed = seed,
            WidthMultiple = multiple,
            Layout = layout,
        });
}
