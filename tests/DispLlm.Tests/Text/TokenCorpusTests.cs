using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>What becomes of a corpus when it meets a tokenizer, and what is said when it cannot.</summary>
public sealed class TokenCorpusTests
{
    private static TextTokenizer Tokenizer { get; } = TextTokenizer.FromFolder(TokenizerFixtures.SampleModel);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static CorpusContext Context { get; } = new(Tokenizer);

    [Fact]
    public void Text_is_tokenized_without_special_tokens() =>
        Assert.Equal(Tokenizer.Encode("Hello world"), TokenCorpus.FromText("Hello world").Tokenize(Context, Stop));

    [Fact]
    public void Files_follow_each_other_and_a_byte_order_mark_is_no_text()
    {
        string folder = TokenizerFixtures.Folder(("a.txt", "One."), ("b.txt", "Two."));
        File.WriteAllBytes(Path.Combine(folder, "a.txt"), [0xEF, 0xBB, 0xBF, .. "One."u8]);
        int[] tokens = TokenCorpus.FromTextFiles([Path.Combine(folder, "a.txt"), Path.Combine(folder, "b.txt")]).Tokenize(Context, Stop);
        Assert.Equal([.. Tokenizer.Encode("One."), .. Tokenizer.Encode("Two.")], tokens);
    }

    [Fact]
    public void Ready_tokens_need_no_tokenizer_and_are_copied_in_and_out()
    {
        int[] tokens = [3, 1, 2];
        var corpus = TokenCorpus.FromTokens(tokens);
        tokens[0] = 99;
        corpus.Tokenize(new CorpusContext(null), Stop)[1] = 99;
        Assert.Equal([3, 1, 2], corpus.Tokenize(new CorpusContext(null), Stop));
    }

    [Fact]
    public void An_id_that_the_model_does_not_have_is_named()
    {
        var corpus = TokenCorpus.FromTokens([5, 4096, 7]);
        string message = Assert.Throws<CorpusException>(() => corpus.Tokenize(Context, Stop)).Message;
        Assert.Contains("4096 at position 1", message, StringComparison.Ordinal);
        Assert.Contains("0 to 4095", message, StringComparison.Ordinal);

        // A model may have more rows than its tokenizer has tokens.
        Assert.Equal([5, 4096, 7], corpus.Tokenize(Context with { VocabularySize = 4097 }, Stop));
        Assert.Contains("-1",
            Assert.Throws<CorpusException>(() => TokenCorpus.FromTokens([-1]).Tokenize(new CorpusContext(null), Stop)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Files_that_cannot_be_used_are_named()
    {
        string folder = TokenizerFixtures.Folder(("empty.txt", ""));
        string binary = Path.Combine(folder, "binary.txt");
        File.WriteAllBytes(binary, [(byte)'o', (byte)'k', 0xC3, 0x28]);
        Fails(Path.Combine(folder, "missing.txt"), "missing.txt", "no such file");
        Fails(Path.Combine(folder, "empty.txt"), "empty.txt", "empty");
        Fails(folder, folder, "cannot be read");
        Fails(binary, "binary.txt", "byte 2");

        static void Fails(string path, params string[] words)
        {
            var corpus = TokenCorpus.FromTextFile(path);
            string message = Assert.Throws<CorpusException>(() => corpus.Tokenize(Context, Stop)).Message;
            Assert.All(words, word => Assert.Contains(word, message, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void A_corpus_of_nothing_is_an_error()
    {
        Assert.Throws<CorpusException>(() => TokenCorpus.FromTextFiles([]));
        Assert.Throws<CorpusException>(() => TokenCorpus.FromText("").Tokenize(Context, Stop));
        Assert.Throws<CorpusException>(() => TokenCorpus.FromTokens([]).Tokenize(Context, Stop));
    }

    [Fact]
    public void Text_without_a_tokenizer_is_an_error() =>
        Assert.Contains("tokenizer",
            Assert.Throws<CorpusException>(() => TokenCorpus.FromText("x").Tokenize(new CorpusContext(null), Stop)).Message,
            StringComparison.Ordinal);

    [Fact]
    public void A_corpus_of_another_kind_is_checked_too() =>
        Assert.Throws<CorpusException>(() => new Broken().Tokenize(Context, Stop));

    [Fact]
    public void Resolving_can_be_cancelled() =>
        Assert.Throws<OperationCanceledException>(() => TokenCorpus.FromText("x").Tokenize(Context, new CancellationToken(canceled: true)));

    private sealed class Broken : TokenCorpus
    {
        public override string Description => "a broken one";

        protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken) =>
            [RequireTokenizer(context).VocabularySize];
    }

    [Fact]
    public void Line_ends_of_a_file_are_read_as_one_kind()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Below("a.txt"), "one\r\ntwo\rthree\n");
        var tokenizer = TextTokenizer.FromFolder(SampleModel.Folder);
        int[] ids = TokenCorpus.FromTextFile(folder.Below("a.txt")).Tokenize(new CorpusContext(tokenizer));
        Assert.Equal(tokenizer.Encode("one\ntwo\nthree\n"), ids);
    }
}
