using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Evaluation;

/// <summary>A real model, end to end.</summary>
[Trait("Category", "Slow")]
public sealed class SmolLm2Tests
{
    [Fact]
    public void Dense_perplexity_on_WikiText_2_is_the_reference_s()
    {
        using var model = PrunableModel.Load(Folder());
        var text = TokenCorpus.FromTextFile(SharedData.Path("data/wikitext-2/wiki.test.raw"));
        var result = Perplexity.Evaluate(
            model, text, new PerplexityOptions { WindowLength = 2048, MaxWindows = 20 }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(20 * 2047, result.PredictedTokens);
        Assert.InRange(result.Perplexity, 20.968 * 0.999, 20.968 * 1.001);
    }

    [Fact]
    public async Task It_is_pruned_to_the_budget_and_reloads_to_the_same_logits()
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
        using var dense = PrunableModel.Load(Folder());
        using var pruned = PrunableModel.Load(folder.Below("pruned"));
        Tensor tokens = (arange(64, ScalarType.Int64) * 331).remainder(model.Spec.VocabularySize).unsqueeze(0);

        // The checkpoint is of type bfloat16: weights times gains are rounded to it once more. Without gains nothing is.
        Close.Within(0.03, dense.Logits(tokens, Gates.FromPlan(result.Plan, dense.Backend)), pruned.Logits(tokens), "logits");
        var plain = result.Plan with { Scales = null };
        new PrunedModelBuilder(model.Folder, plain).Build(folder.Below("plain"));
        using var withoutGains = PrunableModel.Load(folder.Below("plain"));
        Close.Within(1e-4, dense.Logits(tokens, Gates.FromPlan(plain, dense.Backend)), withoutGains.Logits(tokens), "logits without gains");
    }

    private static string Folder()
    {
        string folder = SharedData.Path("models/SmolLM2-135M-Instruct");
        Assert.SkipUnless(File.Exists(Path.Combine(folder, "model.safetensors")), "The weights are not unpacked: run shared/models/unpack.sh.");
        return folder;
    }
}
