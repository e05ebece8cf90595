using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Evaluation;

/// <summary>Small trained models of other families: dense perplexity, and pruning from the pipeline to the reloaded checkpoint.</summary>
public sealed class SmallModelTests
{
    [Theory]
    [InlineData("small-opt", 94.740)]
    [InlineData("small-phi", 60.433)]
    public void Dense_perplexity_matches_the_model_card(string name, double perplexity)
    {
        using var model = PrunableModel.Load(SharedData.Path("models", name));
        Assert.InRange(HeldOut(model, 40), perplexity * 0.999, perplexity * 1.001);
    }

    [Theory]
    [InlineData("small-opt", 0.5)]
    [InlineData("small-phi", 0.5)]
    public Task Pruning_meets_the_budget_and_beats_random_selection(string name, double ratio) =>
        PruneAsync(name, ratio, new HypernetworkSelection
        {
            Steps = 20,
            SequenceLength = 64,
            BatchSize = 2,
            InitialScores = new FisherSelection { Rounds = 2, SequencesPerRound = 8 },
        });

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData("small-opt", 0.2)]
    [InlineData("small-opt", 0.5)]
    [InlineData("small-phi", 0.2)]
    [InlineData("small-phi", 0.5)]
    public Task Pruning_meets_the_budget_and_beats_random_selection_with_more_training(string name, double ratio) =>
        PruneAsync(name, ratio, new HypernetworkSelection { Steps = 60, SequenceLength = 128, BatchSize = 2 });

    private static async Task PruneAsync(string name, double ratio, HypernetworkSelection strategy)
    {
        using var folder = new TemporaryFolder();
        var cancellation = TestContext.Current.CancellationToken;
        using var model = PrunableModel.Load(SharedData.Path("models", name));
        var run = PruningPipeline.For(model).WithPruningRatio(ratio).WithCalibration(
            TokenCorpus.FromTextFile(SharedData.Path("data/gutenberg/train.txt")));
        var result = await run
            .WithStrategy(strategy)
            .RunAsync(cancellation);
        Assert.InRange(result.KeptFraction(), (1 - ratio) * 0.999, 1 - ratio);

        await result.SaveAsync(folder.Below("pruned"), cancellationToken: cancellation);
        using var pruned = PrunableModel.Load(folder.Below("pruned"));
        using (var scope = NewDisposeScope())
        {
            using var noGradient = no_grad();
            Tensor tokens = (arange(64, ScalarType.Int64) * 331).remainder(model.Spec.VocabularySize).unsqueeze(0);

            // The checkpoint is float16: weights times scales are rounded to it. Without scales nothing is rounded.
            Close.Within(5e-3, model.Logits(tokens, Gates.FromPlan(result.Plan, model.Backend)), pruned.Logits(tokens), name);
            var plain = result.Plan with { Scales = null };
            new PrunedModelBuilder(model.Folder, plain).Build(folder.Below("plain"));
            using var withoutScales = PrunableModel.Load(folder.Below("plain"));
            Close.Within(1e-4, model.Logits(tokens, Gates.FromPlan(plain, model.Backend)), withoutScales.Logits(tokens), name);
        }

        var baseline = await run.WithStrategy(new RandomSelection()).RunAsync(cancellation);
        await baseline.SaveAsync(folder.Below("random"), cancellationToken: cancellation);
        using var random = PrunableModel.Load(folder.Below("random"));
        double dense = HeldOut(model, 10), learned = HeldOut(pruned, 10), drawn = HeldOut(random, 10);
        TestContext.Current.TestOutputHelper!.WriteLine($"{name} at {ratio:P0}: dense {dense:F1}, learned {learned:F1}, random {drawn:F1}");
        Assert.True(learned - dense < (drawn - dense) / 2, $"dense {dense:F1}, learned {learned:F1}, random {drawn:F1}");
    }

    private static double HeldOut(PrunableModel model, int windows) => Perplexity.Evaluate(
        model,
        TokenCorpus.FromTextFile(SharedData.Path("data/gutenberg/heldout.txt")),
        new PerplexityOptions { WindowLength = 256, MaxWindows = windows },
        cancellationToken: TestContext.Current.CancellationToken).Perplexity;
}
