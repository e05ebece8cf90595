using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Training;

public sealed class TrainerTests
{
    private static readonly int[] s_tokens = [.. Enumerable.Range(0, 1000).Select(i => 3 + i * i % 61)];

    [Fact]
    public void A_run_leaves_no_tensor_undisposed()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        Assert.Equal(MeasureGrowth(() => NewTrainer(model).Dispose()), MeasureGrowth(() => Learn(model)));
    }

    [Fact]
    public void A_run_that_is_cancelled_leaves_no_tensor_undisposed()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        long growth = MeasureGrowth(() =>
        {
            using var cancellation = new CancellationTokenSource();
            var progress = new Steps(report =>
            {
                if (report.Step == 2)
                {
                    cancellation.Cancel();
                }
            });
            Assert.ThrowsAny<OperationCanceledException>(() => Learn(model, progress, cancellation.Token));
        });
        Assert.Equal(MeasureGrowth(() => NewTrainer(model).Dispose()), growth);
    }

    [Fact]
    public void A_run_that_throws_leaves_no_tensor_undisposed()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var progress = new Steps(_ => throw new InvalidTimeZoneException());
        long growth = MeasureGrowth(() => Assert.Throws<InvalidTimeZoneException>(() => Learn(model, progress)));
        Assert.Equal(MeasureGrowth(() => NewTrainer(model).Dispose()), growth);
    }

    [Fact]
    public void A_parameter_takes_over_the_memory_of_its_source_which_is_counted_as_live_for_ever()
    {
        // What the tests above subtract: TorchSharp counts the tensor that a Parameter was made of as live, although it holds no memory any
        // more.
        long before = LiveTensors.Before();
        using var source = zeros(1000);
        var parameter = new TorchSharp.Modules.Parameter(source);
        Assert.True(source.IsInvalid);
        parameter.Dispose();
        source.Dispose();
        Assert.Equal(before + 1, Tensor.TotalCount);
    }

    [Fact]
    public void Loading_and_disposing_a_model_leaves_no_tensor_undisposed()
    {
        PrunableModel.Load(Fixture.GetFolder("llama-sharded-bf16")).Dispose();
        long before = LiveTensors.Before();
        PrunableModel.Load(Fixture.GetFolder("llama-sharded-bf16")).Dispose();
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void A_weight_that_is_not_a_number_stops_the_run_with_the_step()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using (no_grad())
        {
            model.Weight(WeightRole.MlpDown, 1).fill_(float.NaN);
        }

        var error = Assert.Throws<NumericalException>(() => Learn(model));
        Assert.Equal(1, error.Step);
        Assert.Contains("cross-entropy", error.Where, StringComparison.Ordinal);
    }

    [Fact]
    public void A_logit_that_is_not_a_number_stops_the_run_with_the_site()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var trainer = new HypernetworkTrainer(model, PruningBudget.FromRatio(0.5), new HypernetworkOptions { Steps = 1 });
        using (no_grad())
        {
            trainer.Hypernetwork.state_dict()["heads.7.weight"].fill_(float.PositiveInfinity);
        }

        var error = Assert.Throws<NumericalException>(() => trainer.Scores());
        Assert.Contains("block 1 S3", error.Where, StringComparison.Ordinal);
    }

    [Fact]
    public void Accumulated_batches_weigh_like_one_batch()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        Tensor windows = tensor(s_tokens[..96].Select(id => (long)id).ToArray()).view(3, 32);
        Tensor gates = ones(model.GateLayout.Count);
        using var together = GateGradients.Compute(model, gates, NormOrder.NormThenSelect, [windows]);
        using var apart = GateGradients.Compute(model, gates, NormOrder.NormThenSelect, [windows[..2], windows[2..]]);
        Assert.Equal(together.CrossEntropy, apart.CrossEntropy, 1e-5);
        Close.Within(1e-4, together.Gradient, apart.Gradient, "gate gradients");
    }

    /// <summary>The gradient by a gate is what a small change of that gate does to the loss.</summary>
    [Theory]
    [InlineData(NormOrder.NormThenSelect)]
    [InlineData(NormOrder.SelectThenNorm)]
    public void Gate_gradients_are_derivatives_of_the_loss(NormOrder order)
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-gqa-biases-tied"));
        Tensor tokens = tensor(s_tokens[..32].Select(id => (long)id).ToArray()).view(1, 32);
        Tensor gates = ones(model.GateLayout.Count);
        using var gradients = GateGradients.Compute(model, gates, order, [tokens]);
        foreach (var site in model.GateLayout.Sites)
        {
            // Along the whole site at once: a slope large enough to stand out of float32's noise.
            Tensor direction = zeros_like(gates);
            direction.narrow(0, site.Offset, site.Size).fill_(1);
            double Loss(double step) => CausalLmLoss.Compute(model, tokens, new Gates(gates + step * direction, order)).ToDouble();
            const double Step = 2e-3;
            double slope = (Loss(Step) - Loss(-Step)) / (2 * Step);
            double claimed = (gradients.Gradient * direction).sum().ToDouble();
            Assert.True(Math.Abs(slope - claimed) <= 0.02 * Math.Abs(slope) + 0.01, $"{site}: {claimed} is not {slope}");
        }
    }

    [Fact]
    public void A_site_that_collapses_is_named_once_with_its_step()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        foreach (var order in Enum.GetValues<NormOrder>())
        {
            using var trainer = new HypernetworkTrainer(
                model, PruningBudget.FromRatio(0.4), HypernetworkSelection.Paper.Options with { Steps = 2 }, 0, order, null);
            var site = model.GateLayout[1, SelectionSite.MlpInput];
            Tensor uniforms = zeros(model.GateLayout.Count);
            uniforms.narrow(0, site.Offset, site.Size).fill_(0.999999f);
            var losses = trainer.Step([tensor(s_tokens[..32].Select(id => (long)id).ToArray()).view(1, 32)], uniforms);
            Assert.Equal([site], losses.CollapsedSites);
            Assert.True(double.IsFinite(losses.CrossEntropy));
        }
    }

    [Fact]
    public void Schedules_start_and_end_where_they_say()
    {
        var options = new HypernetworkOptions
        {
            Steps = 100,
            LearningRate = 0.01,
            MinLearningRateRatio = 0.1,
            FinalInverseTemperature = 3,
            BudgetWarmupFraction = 0.5
        };
        Assert.Equal(0.01, options.LearningRateAt(0), 1e-12);
        Assert.Equal(0.0055, options.LearningRateAt(50), 1e-12);
        Assert.Equal(0.001, options.LearningRateAt(100), 1e-12);
        Assert.Equal(0.0055, (options with { ScaleLearningRate = 0.01, LearningRate = 1 }).ScaleLearningRateAt(50), 1e-12);
        Assert.Equal([1, 2, 3], new[] { 0, 50, 100 }.Select(options.InverseTemperatureAt));
        Assert.Equal([0.02, 0.5, 1, 1], new[] { 0, 24, 49, 80 }.Select(options.BudgetFractionAt));
        var paper = HypernetworkSelection.Paper.Options;
        Assert.All(new[] { 0, 17, 9999 }, step =>
            Assert.Equal((1e-3, 1.0, 1.0), (paper.LearningRateAt(step), paper.InverseTemperatureAt(step), paper.BudgetFractionAt(step))));
    }

    [Fact]
    public void Presets_are_what_was_published()
    {
        var paper = HypernetworkSelection.Paper.Options;
        Assert.Equal(new HypernetworkAblations(), HypernetworkSelection.Paper.Ablations);
        Assert.Equal((10_000, 6.0, 3.0, 1.0, 0.05),
            (paper.Steps, paper.BudgetLossWeight, paper.InitialLogitBias, paper.Temperature, paper.WeightDecay));
        Assert.Equal((GateEstimator.ReinMax, 0.0), (paper.Estimator, paper.InitialScoreWeight));
        var released = HypernetworkSelection.ReferenceImplementation.Options;
        Assert.Equal(new HypernetworkAblations { ReferenceImplementationQuirks = true },
            HypernetworkSelection.ReferenceImplementation.Ablations);
        Assert.Equal((16.0, 0.4, GateEstimator.GumbelSigmoid), (released.BudgetLossWeight, released.Temperature, released.Estimator));
        Assert.Equal((0.0, 0.0), (paper.ScaleLearningRate, released.ScaleLearningRate));
        Assert.Equal((1e-3, 0.0, 1.0), (released.LearningRate, released.InitialScoreWeight, released.FinalInverseTemperature));
    }

    [Fact]
    public void Options_out_of_range_are_named()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var error = Assert.Throws<ArgumentOutOfRangeException>(() =>
            new HypernetworkTrainer(model, PruningBudget.FromRatio(0.5), new HypernetworkOptions { LearningRate = -1 }));
        Assert.Contains("LearningRate", error.Message, StringComparison.Ordinal);
        Assert.Contains("-1", error.Message, StringComparison.Ordinal);
    }

    private static void Learn(IPrunableModel model, IProgress<PruningProgress>? progress = null,
        CancellationToken cancellation = default) =>
        new HypernetworkSelection(new HypernetworkOptions { Steps = 4, SequenceLength = 32, BatchSize = 2, InitialScoreWeight = 0 }).Select(
            new SelectionRequest
            {
                Model = model,
                Budget = PruningBudget.FromRatio(0.4),
                Calibration = TokenCorpus.FromTokens(s_tokens),
                Progress = progress,
            },
            cancellation);

    /// <summary>Random numbers of the caller's that differ where sites share a gate: the first of them counts for all.</summary>
    [Fact]
    public void A_gate_that_sites_share_is_sampled_once()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var learned = new LearnedGates(model.GateLayout, PruningLayout.Stream, CPU);
        using var random = new RandomSource(3).Stream("uniforms");
        Tensor own = random.Uniform(learned.Count), untied = random.Uniform(model.GateLayout.Count), tied = learned.Expand(own);
        foreach (var site in model.GateLayout.Sites.Where(site => site.Block == 0 && site.Site == SelectionSite.AttentionInput
            || site.Site == SelectionSite.MlpHidden))
        {
            untied.narrow(0, site.Offset, site.Size).copy_(tied.narrow(0, site.Offset, site.Size));
        }

        StepLosses Step(Tensor uniforms)
        {
            using var trainer = new HypernetworkTrainer(
                model, PruningBudget.FromRatio(0.4), new HypernetworkOptions { Steps = 1, InitialLogitBias = 0 }, PruningLayout.Stream, 0,
                NormOrder.NormThenSelect, null);
            return trainer.Step([tensor(s_tokens[..32].Select(id => (long)id).ToArray()).view(1, 32)], uniforms);
        }

        Assert.False(untied.equal(tied).all().item<bool>());
        var (expected, actual) = (Step(tied), Step(untied));
        Assert.Equal((expected.CrossEntropy, expected.KeptParameters), (actual.CrossEntropy, actual.KeptParameters));
    }

    private static HypernetworkTrainer NewTrainer(IPrunableModel model) =>
        new(model, PruningBudget.FromRatio(0.4), new HypernetworkOptions { Steps = 1 });

    private static long MeasureGrowth(Action action)
    {
        action();       // the first run may fill caches of libtorch
        long before = LiveTensors.Before();
        action();
        return Tensor.TotalCount - before;
    }
}
