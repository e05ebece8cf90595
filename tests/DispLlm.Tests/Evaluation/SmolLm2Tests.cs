using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Evaluation;

/// <summary>A real model, from perplexity to the pruned checkpoint.</summary>
[Trait("Category", "Slow")]
public sealed class SmolLm2Tests
{
    [Fact]
    public void Dense_perplexity_on_WikiText_2_matches_the_reference()
    {
        using var model = PrunableModel.Load(Folder());
        var text = TokenCorpus.FromTextFile(SharedData.Path("data/wikitext-2/wiki.test.raw"));
        var result = Perplexity.Evaluate(
            model, text, new PerplexityOptions { WindowLength = 2048, MaxWindows = 20 },
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(20 * 2047, result.PredictedTokens);
        Assert.InRange(result.Perplexity, 20.968 * 0.999, 20.968 * 1.001);
    }

    [Fact]
    public async Task Pruning_meets_the_budget_and_the_reloaded_model_has_the_same_logits()
    {
        using var folder = new TemporaryFolder();
        var cancellation = TestContext.Current.CancellationToken;
        using var model = PrunableModel.Load(Folder());
        var result = await PruningPipeline.For(model)
            .WithPruningRatio(0.2)
            .WithCalibration(TokenCorpus.FromTextFile(SharedData.Path("data/wikitext-2/wiki.train.first1MB.raw")))
            .WithStrategy(new HypernetworkSelection { Steps = 24, SequenceLength = 128 })
            .RunAsync(cancellation);
        Assert.InRange(result.KeptFraction(), 0.8 * 0.999, 0.8);
        await result.SaveAsync(folder.Below("pruned"), cancellationToken: cancellation);

        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var pruned = PrunableModel.Load(folder.Below("pruned"));
        Tensor tokens = (arange(64, ScalarType.Int64) * 331).remainder(model.Spec.VocabularySize).unsqueeze(0);

        // The checkpoint is bfloat16: weights times scales are rounded to it. Without scales nothing is rounded.
        Close.Within(0.03, model.Logits(tokens, Gates.FromPlan(result.Plan, model.Backend)), pruned.Logits(tokens), "logits");
        var plain = result.Plan with { Scales = null };
        new PrunedModelBuilder(model.Folder, plain).Build(folder.Below("plain"));
        using var withoutScales = PrunableModel.Load(folder.Below("plain"));
        Close.Within(
            1e-4, model.Logits(tokens, Gates.FromPlan(plain, model.Backend)), withoutScales.Logits(tokens), "logits without scales");
    }

    private static string Folder()
    {
        string folder = SharedData.Path("models/SmolLM2-135M-Instruct");
        Assert.SkipUnless(
            File.Exists(Path.Combine(folder, "model.safetensors")), "The weights are not unpacked: run shared/models/unpack.sh.");
        return folder;
    }
}
