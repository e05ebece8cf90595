using TorchSharp;

namespace DispLlm.Tests.Evaluation;

public sealed class PerplexityTests
{
    [Fact]
    public void Perplexity_of_the_small_LLaMA_is_that_of_its_model_card()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var text = TokenCorpus.FromTextFile(SharedData.Path("data/gutenberg/heldout.txt"));
        var result = Perplexity.Evaluate(
            model, text, new PerplexityOptions { WindowLength = 256, MaxWindows = 40 },
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.InRange(result.Perplexity, 54.100 * 0.999, 54.100 * 1.001);
        Assert.Equal(40, result.Windows);
    }

    [Fact]
    public void Batch_size_does_not_change_the_result()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = CreateTokens(model, 448);
        var one = Perplexity.Evaluate(model, tokens, new PerplexityOptions { WindowLength = 64, MaxWindows = 7 }, null);
        var three = Perplexity.Evaluate(model, tokens, new PerplexityOptions { WindowLength = 64, MaxWindows = 7, BatchSize = 3 }, null);
        Assert.Equal(one.Perplexity, three.Perplexity, one.Perplexity * 1e-5);
        Assert.Equal(7 * 63, three.PredictedTokens);
    }

    [Fact]
    public void A_first_token_replaces_one_token_of_each_window()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = CreateTokens(model, 189);
        var result = Perplexity.Evaluate(model, tokens, new PerplexityOptions { WindowLength = 64, FirstToken = 1 }, null);
        Assert.Equal(3, result.Windows);
        Assert.Equal(3 * 63, result.PredictedTokens);
    }

    [Theory]
    [InlineData(64, 64, false)]
    [InlineData(64, 16, false)]
    [InlineData(64, 16, true)]
    [InlineData(64, 63, true)]
    [InlineData(300, 300, true)]
    public void Overlapping_windows_score_each_token_once_with_its_whole_context(int window, int stride, bool rest)
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = CreateTokens(model, 210);
        var result = Perplexity.Evaluate(model, tokens,
            new PerplexityOptions { WindowLength = window, Stride = stride, IncludePartialWindow = rest, BatchSize = 2 }, null);

        double sum = 0;
        int predicted = 0, seen = 1;
        for (int start = 0; start + window <= tokens.Length || (rest && seen < tokens.Length); start += stride)
        {
            int end = Math.Min(start + window, tokens.Length);
            using var scope = torch.NewDisposeScope();
            using var noGradient = torch.no_grad();
            var logarithms =
                model.Logits(torch.tensor(tokens[start..end].Select(id => (long)id).ToArray()).unsqueeze(0))[0].log_softmax(-1);
            for (int i = Math.Max(seen, start + 1); i < end; i++)
            {
                sum -= logarithms[i - 1 - start, tokens[i]].ToSingle();
                predicted++;
            }

            seen = end;
        }

        Assert.Equal(predicted, result.PredictedTokens);
        Assert.Equal(sum / predicted, result.MeanLoss, 1e-4);
    }

    [Fact]
    public void A_bos_token_is_prepended_to_the_text_once()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var tokenizer = TextTokenizer.FromFolder(SampleModel.Folder);
        int[] tokens = CreateTokens(model, 127);
        var published = PerplexityOptions.PaperConvention(tokenizer, 64);
        Assert.Equal(tokenizer.BosTokenId, published.BosToken);
        var result = Perplexity.Evaluate(model, tokens, published, null);
        var expected = Perplexity.Evaluate(
            model, [tokenizer.BosTokenId!.Value, .. tokens], new PerplexityOptions { WindowLength = 64 }, null);
        Assert.Equal((2, expected.MeanLoss), (result.Windows, result.MeanLoss));
    }

    [Fact]
    public void A_stride_longer_than_the_window_is_refused()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = new int[200];
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Evaluate(model, tokens, PerplexityOptions.Sliding(64, 65), null));
        Assert.Throws<ArgumentOutOfRangeException>(() => Perplexity.Evaluate(model, tokens, PerplexityOptions.Sliding(64, 0), null));
        Assert.Throws<ArgumentOutOfRangeException>(
            () => Perplexity.Evaluate(model, tokens, new PerplexityOptions { WindowLength = 64, FirstToken = 1, Stride = 64 }, null));
    }

    [Fact]
    public void A_WikiText_file_is_joined_as_in_published_code()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Below("wiki.raw"), " \n = A sea = \n \n It was deep . \n");
        var context = new CorpusContext(TextTokenizer.FromFolder(SampleModel.Folder));
        Assert.Equal(
            TokenCorpus.FromText("\n\n = A sea = \n\n\n\n\n It was deep . \n").Tokenize(context),
            TokenCorpus.FromWikiTextFile(folder.Below("wiki.raw")).Tokenize(context));
    }

    [Fact]
    public void WikiText_2_has_the_number_of_tokens_of_published_code()
    {
        var tokenizer = TextTokenizer.FromFolder(SharedData.Path("tokenizers/llama"));
        int[] tokens = TokenCorpus.FromWikiTextFile(SharedData.Path("data/wikitext-2/wiki.test.raw"))
            .Tokenize(new CorpusContext(tokenizer));

        // Published code has 341,469 tokens with LLaMA's tokenizer and its begin-of-text token. This copy lacks the 1,467 blank lines, two
        // line ends each.
        Assert.Equal(341_469 - 1 - 2 * 1_467, tokens.Length);
    }

    [Fact]
    public void A_text_shorter_than_a_window_is_refused_with_both_lengths()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var error = Assert.Throws<CorpusException>(
            () => Perplexity.Evaluate(model, [1, 2, 3], new PerplexityOptions { WindowLength = 64 }, null));
        Assert.Contains("3", error.Message, StringComparison.Ordinal);
        Assert.Contains("64", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sampling_is_reproducible_by_seed()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var options = new GenerationOptions { MaxNewTokens = 20, Temperature = 1, Seed = 5 };
        var first = TextGenerator.Generate(model, [1, 300, 400], options);
        Assert.Equal(first, TextGenerator.Generate(model, [1, 300, 400], options));
        Assert.NotEqual(first, TextGenerator.Generate(model, [1, 300, 400], options with { Seed = 6 }));
        Assert.Equal(20, first.Count);
    }

    private static int[] CreateTokens(PrunableModel model, int count) =>
        [.. Enumerable.Range(0, count).Select(i => i * 331 % model.Spec.VocabularySize)];
}
