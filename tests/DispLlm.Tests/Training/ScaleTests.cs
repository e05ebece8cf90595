using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Training;

/// <summary>The scales of open gates, learned with the selection.</summary>
public sealed class ScaleTests
{
    private static readonly int[] s_tokens = [.. Enumerable.Range(0, 1000).Select(i => 3 + i * i % 61)];

    /// <summary>
    /// Adam's first step is the learning rate, against the sign of the gradient: d loss / d gain is the gate's gradient where it is open,
    /// and 0 where it is closed.
    /// </summary>
    [Theory]
    [InlineData(NormOrder.NormThenSelect)]
    [InlineData(NormOrder.SelectThenNorm)]
    public void The_first_step_goes_down_the_slope_of_open_gates(NormOrder order)
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-gqa-biases-tied"));
        using var trainer = new HypernetworkTrainer(
            model, PruningBudget.FromRatio(0.5),
                new HypernetworkOptions { Steps = 1, ScaleLearningRate = 0.02, InitialLogitBias = 0, InitialScoreWeight = 0 }, 0, order,
                null);
        Assert.All(trainer.Scales()!.Values.ToArray(), gain => Assert.Equal(1, gain));

        using var random = new RandomSource(3).Stream("draws");
        Tensor uniforms =
            random.Uniform(model.GateLayout.Count), batch = tensor(s_tokens[..32].Select(id => (long)id).ToArray()).view(1, 32);
        var (sampled, _) = BinaryReinMax.Sample(tensor(trainer.Scores().Values.ToArray()), uniforms, 0, 1);

        // Groups are not selected from in the default layout: their gates stay open.
        using var learned = new LearnedGates(model.GateLayout, PruningLayout.Paper, CPU);
        Tensor gates = where(learned.Mask() == 1, sampled, ones_like(sampled));
        using var slope = GateGradients.Compute(model, gates, order, [batch]);
        trainer.Step([batch], uniforms);

        float[] open =
            gates.data<float>().ToArray(), gradient = slope.Gradient.data<float>().ToArray(), gains = trainer.Scales()!.Values.ToArray();
        int moved = 0;
        foreach (var site in model.GateLayout.Sites)
        {
            bool held = site.Site == SelectionSite.AttentionGroups
                || (order == NormOrder.SelectThenNorm && site.Site is SelectionSite.AttentionInput or SelectionSite.MlpInput);
            foreach (int i in Enumerable.Range(site.Offset, site.Size).Where(i => Math.Abs(gradient[i]) > 1e-5))
            {
                bool moves = open[i] == 1 && !held;
                Assert.Equal(moves ? 1 - 0.02f * Math.Sign(gradient[i]) : 1, gains[i], 2e-4);
                moved += moves ? 1 : 0;
            }
        }

        Assert.True(moved > model.GateLayout.Count / 8, $"{moved}");
    }

    [Fact]
    public void The_plan_has_them_and_is_better_with_them() => LearnedScalesAreBetter(NormOrder.NormThenSelect, steps: 12);

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData(NormOrder.NormThenSelect)]
    [InlineData(NormOrder.SelectThenNorm)]
    public void The_plan_has_them_and_is_better_with_them_in_both_orders(NormOrder order) => LearnedScalesAreBetter(order, steps: 24);

    private static void LearnedScalesAreBetter(NormOrder order, int steps)
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var plan = SelectHalf(model, order,
            new HypernetworkSelection(new HypernetworkOptions { Steps = steps, SequenceLength = 64, ScaleLearningRate = 0.02 })
            {
                InitialScores = new FisherSelection { Rounds = 1, SequencesPerRound = 4, SequenceLength = 64 },
            });
        plan.Validate(model.Spec);
        Assert.True(Perplexity(model, plan) < 0.98 * Perplexity(model, plan with { Scales = null }),
            $"{Perplexity(model, plan)} {Perplexity(model, plan with { Scales = null })}");
        Assert.Null(SelectHalf(model, order,
            new HypernetworkSelection(new HypernetworkOptions
            {
                Steps = 1,
                SequenceLength = 32,
                ScaleLearningRate = 0,
                InitialScoreWeight = 0
            })).Scales);
    }

    [Fact]
    public void Fisher_scores_come_with_scales_in_closed_form() => FisherScalesAreBetter(NormOrder.NormThenSelect, rounds: 4, sequences: 4);

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData(NormOrder.NormThenSelect)]
    [InlineData(NormOrder.SelectThenNorm)]
    public void Fisher_scores_come_with_scales_in_closed_form_in_both_orders(NormOrder order) =>
        FisherScalesAreBetter(order, rounds: 6, sequences: 8);

    private static void FisherScalesAreBetter(NormOrder order, int rounds, int sequences)
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        SelectionPlan Select(double step) =>
            SelectHalf(model, order,
            new FisherSelection { Rounds = rounds, SequencesPerRound = sequences, SequenceLength = 64, ScaleStep = step });

        var (plan, plain) = (Select(0.05), Select(0));
        plan.Validate(model.Spec);
        Assert.Null(plain.Scales);
        Assert.All(plan.Scales!.Values.ToArray(), gain => Assert.InRange(gain, 1 - rounds * 0.05f - 1e-4f, 1 + rounds * 0.05f + 1e-4f));
        Assert.True(Perplexity(model, plan) < 0.98 * Perplexity(model, plain), $"{Perplexity(model, plan)} {Perplexity(model, plain)}");
        Assert.Throws<ArgumentOutOfRangeException>(() => Select(1.5));
    }

    [Fact]
    public void Rates_that_make_no_sense_are_refused()
    {
        Assert.Contains("ScaleLearningRate",
            Assert.Throws<ArgumentOutOfRangeException>(() => new HypernetworkOptions { ScaleLearningRate = -0.1 }.Validate()).Message,
            StringComparison.Ordinal);
        Assert.Contains("authors' code has no scales",
            Assert.Throws<ArgumentOutOfRangeException>(() =>
            HypernetworkSelection.ReferenceImplementation.Ablations.Validate(new HypernetworkOptions())).Message, StringComparison.Ordinal);
    }

    private static SelectionPlan SelectHalf(PrunableModel model, NormOrder order, ISelectionStrategy strategy) => strategy.Select(
        new SelectionRequest
        {
            Model = model,
            Budget = PruningBudget.FromRatio(0.5),
            Calibration = TokenCorpus.FromTokens(SampleModel.Tokens(model)),
            NormOrder = order
        },
        TestContext.Current.CancellationToken).Plan;

    private static double Perplexity(PrunableModel model, SelectionPlan plan)
    {
        using var gates = Gates.FromPlan(plan, model.Backend);
        return DispLlm.Evaluation.Perplexity.Evaluate(model, SampleModel.Tokens(model), new PerplexityOptions { WindowLength = 64 },
            gates).Perplexity;
    }
}
