using System.Text;
using System.Text.Json.Nodes;
using DispLlm.Tests.Text;

namespace DispLlm.Tests.Evaluation;

/// <summary>Figures per byte: which bytes count, and that they compare where figures per token do not.</summary>
public sealed class BitsPerByteTests : IDisposable
{
    private const string Prose = "The old man went down to the sea, and nobody knew why he had gone. In the morning the boats came back "
        + "without him; they said that he had been seen far out, rowing slowly towards a light that none of them could explain.";

    private readonly TemporaryFolder _folder = new();
    private readonly PrunableModel _model = PrunableModel.Load(SampleModel.Folder);
    private readonly TextTokenizer _tokenizer = TextTokenizer.FromFolder(SampleModel.Folder);

    public void Dispose()
    {
        _model.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(16, null, false)]
    [InlineData(16, null, true)]
    [InlineData(16, 5, false)]
    [InlineData(16, 5, true)]
    [InlineData(500, null, true)]
    public void The_bytes_of_the_scored_tokens_count(int window, int? stride, bool rest)
    {
        int[] ids = [.. _tokenizer.Encode(Prose)];

        // The bytes before each token: of the text that the tokens before it decode to.
        int[] starts =
            [.. Enumerable.Range(0, ids.Length + 1).Select(count => Encoding.UTF8.GetByteCount(_tokenizer.Decode(ids[..count])))];
        long expected = 0;
        int step = stride ?? window, seen = 0;
        for (int start = 0; start + window <= ids.Length || (rest && seen < ids.Length); start += step)
        {
            int end = Math.Min(start + window, ids.Length), from = Math.Max(seen, start + 1);
            expected += starts[end] - starts[Math.Min(from, end)];
            seen = end;
        }

        var options = new PerplexityOptions { WindowLength = window, Stride = stride, IncludePartialWindow = rest };
        var result = Perplexity.Evaluate(_model, TokenCorpus.FromText(Prose), options);
        Assert.Equal(expected, result.ScoredBytes);
        Assert.Equal(result.MeanLoss * result.PredictedTokens / Math.Log(2) / expected, result.BitsPerByte!.Value, 1e-9);
        Assert.Equal(Math.Pow(2, result.BitsPerByte.Value), result.PerplexityPerByte!.Value, 1e-9);
    }

    [Fact]
    public void Every_byte_counts_where_every_token_is_scored()
    {
        // A piece before the first word has a space that the text has not; the begin-of-text token is no text.
        var options = PerplexityOptions.Sliding(16, 5) with { BosToken = _tokenizer.BosTokenId };
        foreach (string text in (string[])[Prose, "é \U0001F999 und die Größe — 北京", " two  spaces", "\tx\n\n"])
        {
            string padded = text + Prose;
            var result = Perplexity.Evaluate(_model, TokenCorpus.FromText(padded), options);
            Assert.Equal(Encoding.UTF8.GetByteCount(padded), result.ScoredBytes);
        }

        File.WriteAllText(_folder.Below("a.txt"), Prose);
        File.WriteAllText(_folder.Below("b.txt"), "é" + Prose);
        var files = TokenCorpus.FromTextFiles([_folder.Below("a.txt"), _folder.Below("b.txt")]);
        Assert.Equal(2 * Prose.Length + 2, Perplexity.Evaluate(_model, files, options).ScoredBytes);
        Assert.Equal(
            Prose.Length + 2, Perplexity.Evaluate(_model, TokenCorpus.FromText("é" + Prose), options with { FirstToken = 1 }).ScoredBytes);
    }

    [Fact]
    public void A_character_of_several_tokens_counts_for_the_last()
    {
        // Every byte is a token.
        var tokenizer = TextTokenizer.FromFolder(TokenizerFixtures.Folder(("tokenizer.json", TokenizerFixtures.ByteLevelJson())));
        var read = TokenizedText.Read(
            TokenCorpus.FromText("aé\U0001F999b"), new CorpusContext(tokenizer), TestContext.Current.CancellationToken);
        Assert.Equal(8, read.Tokens.Count);
        Assert.Equal([1, 0, 2, 0, 0, 0, 4, 1], Enumerable.Range(0, 8).Select(i => read.CountBytes([(i, i + 1)])!.Value));
        Assert.Equal([1, 4, 3], [read.CountBytes([(0, 2)])!.Value, read.CountBytes([(3, 7)])!.Value, read.CountBytes([(0, 3)])!.Value]);
        Assert.Equal(8, read.CountBytes([(0, 8)]));
        Assert.Equal(0, read.CountBytes([]));
    }

    [Fact]
    public void A_token_before_every_window_is_no_text()
    {
        var tokens = _tokenizer.Encode(Prose);
        var options = new PerplexityOptions { WindowLength = 16, FirstToken = 1 };
        var result = Perplexity.Evaluate(_model, TokenCorpus.FromText(Prose), options);
        int scored = tokens.Count / 15 * 15;
        Assert.Equal(scored, result.PredictedTokens);
        Assert.Equal(Encoding.UTF8.GetByteCount(_tokenizer.Decode(tokens.Take(scored))), result.ScoredBytes);
    }

    [Fact]
    public void A_tokenizer_that_drops_characters_is_measured_by_the_bytes_of_the_text()
    {
        // The vocabulary has no token for byte 7, and without an unknown token it is dropped.
        var json = JsonNode.Parse(TokenizerFixtures.ByteLevelJson())!;
        Assert.True(((JsonObject)json["model"]!["vocab"]!).Remove("\u0107"));
        var tokenizer = TextTokenizer.FromFolder(TokenizerFixtures.Folder(("tokenizer.json", json.ToJsonString())));
        string text = $"a\u0007b\u0007c\u0007d\u0007{new string('e', 90)}";
        var read = TokenizedText.Read(
            TokenCorpus.FromText(text), new CorpusContext(tokenizer), TestContext.Current.CancellationToken);
        Assert.Equal(94, read.Tokens.Count);
        Assert.Equal(text.Length, read.CountBytes([(0, 94)]));
        Assert.Equal(text.Length, read.CountBytes([(0, 31), (31, 50), (50, 94)]));
        Assert.Equal(text.Length / 2, read.CountBytes([(47, 94)]));
    }

    [Fact]
    public void Ready_tokens_count_as_the_text_that_they_stand_for()
    {
        var tokens = TokenCorpus.FromTokens(_tokenizer.Encode(Prose));
        var options = new PerplexityOptions { WindowLength = 16 };
        Assert.Equal(
            Perplexity.Evaluate(_model, TokenCorpus.FromText(Prose), options).BitsPerByte,
            Perplexity.Evaluate(_model, tokens, options).BitsPerByte);
        var bare = Perplexity.Evaluate(_model, _tokenizer.Encode(Prose), options, null);
        Assert.Equal((null, null, null), (bare.ScoredBytes, bare.BitsPerByte, bare.PerplexityPerByte));
    }

    [Fact]
    public void A_model_with_a_renumbered_vocabulary_has_the_same_figures_and_its_predictions_are_not_compared()
    {
        string folder = SharedData.Path("failing/01-eval-two-tokenizers");
        using var a = PrunableModel.Load(Path.Combine(folder, "a"));
        using var b = PrunableModel.Load(Path.Combine(folder, "b"));
        var text = TokenCorpus.FromTextFile(Path.Combine(folder, "text.txt"));
        var options = new PerplexityOptions { WindowLength = 32 };
        PerplexityResult first = Perplexity.Evaluate(a, text, options), second = Perplexity.Evaluate(b, text, options);
        Assert.Equal(1022.33, first.Perplexity, 0.005);
        Assert.Equal(first.Perplexity, second.Perplexity, 1e-3);
        Assert.Equal(first.ScoredBytes, second.ScoredBytes);
        Assert.Equal(first.BitsPerByte!.Value, second.BitsPerByte!.Value, 1e-6);

        string message = Assert.Throws<EvaluationException>(() => DistributionComparison.Evaluate(b, a, text, options)).Message;
        Assert.Contains("different vocabularies", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Vocabularies_are_the_same_where_every_id_is_the_same_text()
    {
        var own = Load(TokenizerFixtures.ByteLevelJson(addedTokens: Added("<b>")));
        Assert.True(Vocabularies.AreSame(own, Load(TokenizerFixtures.ByteLevelJson(addedTokens: Added("<b>")))));
        Assert.False(Vocabularies.AreSame(own, Load(TokenizerFixtures.ByteLevelJson(addedTokens: Added("<c>")))));
        Assert.False(Vocabularies.AreSame(own, Load(TokenizerFixtures.ByteLevelJson())));
        Assert.False(Vocabularies.AreSame(_tokenizer, own));
        Assert.True(Vocabularies.AreSame(_tokenizer, TextTokenizer.FromFolder(SampleModel.Folder)));

        static string Added(string name) => $$"""[{"id":256,"content":"{{name}}","special":true}]""";
        static TextTokenizer Load(string json) => TextTokenizer.FromFolder(TokenizerFixtures.Folder(("tokenizer.json", json)));
    }
}
