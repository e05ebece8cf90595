using TorchSharp;

namespace DispLlm.Tests.Evaluation;

public sealed class PerplexityTests
{
    [Fact]
    public void The_small_LLaMA_reaches_the_perplexity_of_its_card()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var text = TokenCorpus.FromTextFile(SharedData.Path("data/gutenberg/heldout.txt"));
        var result = Perplexity.Of(
            model, text, new PerplexityOptions { WindowLength = 256, MaxWindows = 40 }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.InRange(result.Perplexity, 54.100 * 0.999, 54.100 * 1.001);
        Assert.Equal(40, result.Windows);
    }

    [Fact]
    public void Batches_change_nothing_but_speed()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = SampleModel.Tokens(model);
        var one = Perplexity.Of(model, tokens, new PerplexityOptions { WindowLength = 64, MaxWindows = 7 }, null);
        var three = Perplexity.Of(model, tokens, new PerplexityOptions { WindowLength = 64, MaxWindows = 7, BatchSize = 3 }, null);
        Assert.Equal(one.Perplexity, three.Perplexity, one.Perplexity * 1e-5);
        Assert.Equal(7 * 63, three.PredictedTokens);
    }

    [Fact]
    public void A_first_token_takes_the_place_of_one_token_of_text()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = SampleModel.Tokens(model)[..189];
        var result = Perplexity.Of(model, tokens, new PerplexityOptions { WindowLength = 64, FirstToken = 1 }, null);
        Assert.Equal(3, result.Windows);
        Assert.Equal(3 * 63, result.PredictedTokens);
    }

    [Fact]
    public void Text_shorter_than_a_window_is_refused_with_both_numbers()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var error = Assert.Throws<CorpusException>(() => Perplexity.Of(model, [1, 2, 3], new PerplexityOptions { WindowLength = 64 }, null));
        Assert.Contains("3", error.Message, StringComparison.Ordinal);
        Assert.Contains("64", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sampled_generation_repeats_with_its_seed()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var options = new GenerationOptions { MaxNewTokens = 20, Temperature = 1, Seed = 5 };
        var first = TextGenerator.Continue(model, [1, 300, 400], options);
        Assert.Equal(first, TextGenerator.Continue(model, [1, 300, 400], options));
        Assert.NotEqual(first, TextGenerator.Continue(model, [1, 300, 400], options with { Seed = 6 }));
        Assert.Equal(20, first.Count);
    }
}
