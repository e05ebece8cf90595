using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Tokenizer files that other programs were reported to read wrong: each stands for its kind.</summary>
[Collection(nameof(TokenizerFaultTests))]
public sealed class TokenizerFaultTests
{
    private const string Special = "03-special-tokens-in-text";

    [Theory]
    [InlineData(Special, "the user said</s>", new[] { 261, 271, 267, 2 })]
    [InlineData(Special, "<|im_start|>user<|im_end|>", new[] { 331, 271, 332 })]
    [InlineData(Special, "the</s> user", new[] { 261, 2, 330, 271 })]
    [InlineData("04-sentencepiece-as-tokenizer-json", "the user said", new[] { 261, 271, 267 })]
    [InlineData("04-sentencepiece-as-tokenizer-json", "  he said", new[] { 330, 330, 263, 267 })]
    [InlineData("04-sentencepiece-as-tokenizer-json", "é 🦙 the", new[] { 330, 198, 172, 330, 243, 162, 169, 156, 261 })]
    [InlineData("05-normalizers/nfc", "cafe\u0301", new[] { 269 })]
    [InlineData("05-normalizers/nfc", "\u212B", new[] { 195, 133 })]
    [InlineData("06-empty-special-names", "the", new[] { 261 })]
    [InlineData("08-tiktoken-file-beside-tokenizer-json", "the the", new[] { 257, 32, 257 })]
    [InlineData("09-regex-dialect/stand-in-in-a-range", "the 🦙 the", new[] { 272, 259, 32, 272 })]
    [InlineData("09-regex-dialect/dollar-is-a-line-end", "the\n\nthe", new[] { 272, 10, 10, 272 })]
    [InlineData("09-regex-dialect/posix-class", "the >>", new[] { 272, 32, 62, 62 })]
    [InlineData("09-regex-dialect/empty-lower-bound", "the >>", new[] { 116, 104, 101, 32, 62, 62 })]
    [InlineData("09-regex-dialect/range-beyond-ffff", "the", new[] { 272 })]
    [InlineData("09-regex-dialect/possessive", "the 1234", new[] { 272, 32, 262, 52 })]
    public void Ids_are_the_models_own(string folder, string text, int[] ids) => Assert.Equal(ids, Load(folder).Encode(text));

    [Theory]
    [InlineData("04-sentencepiece-as-tokenizer-json", 1, 2)]
    [InlineData("06-empty-special-names", 1, 2)]
    [InlineData("07-config-ids-against-vocabulary", 1, 2)]
    public void The_vocabulary_says_which_tokens_begin_and_end_a_text(string folder, int begin, int end)
    {
        var tokenizer = Load(folder);
        Assert.Equal(begin, tokenizer.BosTokenId);
        Assert.Equal(end, tokenizer.EosTokenId);
        Assert.True(tokenizer.AddBosToken);
        Assert.Equal(begin, tokenizer.Encode("the", addSpecialTokens: true)[0]);
    }

    [Fact]
    public void Every_stop_token_ends_a_generation()
    {
        string folder = SharedData.Path("failing", "10-stop-token-list");
        using var model = PrunableModel.Load(folder);
        var tokenizer = TextTokenizer.FromFolder(folder);
        Assert.Equal([257, 119], tokenizer.StopTokenIds);
        Assert.Equal("vss", TextGenerator.Generate(model, tokenizer, "row", new GenerationOptions { MaxNewTokens = 8 }));
    }

    [Fact]
    public async Task A_continuation_keeps_the_space_it_begins_with()
    {
        string folder = SharedData.Path("failing", "11-first-space-of-a-continuation");
        using var model = PrunableModel.Load(folder);
        var tokenizer = TextTokenizer.FromFolder(folder);
        var options = new GenerationOptions { MaxNewTokens = 3 };
        Assert.Equal(" read sa re", TextGenerator.Generate(model, tokenizer, "the", options));
        var pieces = new List<string>();
        await foreach (string piece in TextGenerator.GenerateStreamingAsync(
            model, tokenizer, "the", options, TestContext.Current.CancellationToken))
        {
            pieces.Add(piece);
        }

        Assert.Equal(" read sa re", string.Concat(pieces));
    }

    [Theory]
    [InlineData("tokenizer.model")]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer_config.json")]
    [InlineData("merges.txt")]
    public void A_git_lfs_pointer_is_named_with_the_remedy(string name)
    {
        string pointer = File.ReadAllText(SharedData.Path("failing", "13-lfs-pointer", "tokenizer.model"));
        string folder = TokenizerFixtures.Folder((name, pointer), (name == "merges.txt" ? "vocab.json" : "other", "{}"));
        var error = Assert.Throws<TokenizerException>(() => TextTokenizer.FromFolder(folder));
        Assert.Contains(name, error.Message, StringComparison.Ordinal);
        Assert.Contains("git lfs pull", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_list_of_tiktoken_alone_is_named()
    {
        string folder = TokenizerFixtures.Folder(("tokenizer.model", "IQ== 0\nIg== 1\n"));
        var error = Assert.Throws<TokenizerException>(() => TextTokenizer.FromFolder(folder));
        Assert.Contains("tiktoken", error.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.json", error.Message, StringComparison.Ordinal);
    }

    // Other cases of the kinds above.
    [Theory]
    [InlineData("added_tokens.json", """{"<|im_start|>":331,"<|im_end|>":332}""")]
    [InlineData("tokenizer_config.json", """{"added_tokens_decoder":{"331":{"content":"<|im_start|>"},"332":{"content":"<|im_end|>","special":true}}}""")]
    public void Added_tokens_are_found_wherever_they_are_listed(string name, string content)
    {
        var tokenizer = LoadModel((name, content), ("special_tokens_map.json", """{"eos_token":"</s>"}"""));
        Assert.Equal([331, 271, 332, 2], tokenizer.Encode("<|im_start|>user<|im_end|></s>"));
        Assert.Equal(333, tokenizer.VocabularySize);
    }

    [Fact]
    public void A_token_that_is_described_is_found_with_its_spaces()
    {
        var tokenizer = LoadModel(("special_tokens_map.json", """{"eos_token":{"content":"</s>","lstrip":true,"rstrip":true,"normalized":false}}"""));
        Assert.Equal([261, 2, 271], tokenizer.Encode("the </s>  user"));
        Assert.Equal([261, 2], LoadModel(("tokenizer_config.json", """{"additional_special_tokens":["</s>"]}""")).Encode("the</s>"));
    }

    [Fact]
    public void Only_the_first_part_has_a_space_before_it_where_the_tokenizer_is_not_legacy()
    {
        var tokenizer = LoadModel(("added_tokens.json", """{"<|im_start|>":331}"""), ("tokenizer_config.json", """{"legacy":false}"""));
        var legacy = LoadModel(("added_tokens.json", """{"<|im_start|>":331}"""));
        Assert.Equal(legacy.Encode("the<|im_start|>"), tokenizer.Encode("the<|im_start|>"));
        Assert.Equal(legacy.Encode("the<|im_start|>the"), tokenizer.Encode("the<|im_start|> the"));
        Assert.NotEqual(legacy.Encode("the<|im_start|>the"), tokenizer.Encode("the<|im_start|>the"));
    }

    [Theory]
    [InlineData("""{"eos_token_id":[2,5]}""", "{}", new[] { 2, 5 })]
    [InlineData("""{"eos_token_id":5}""", "{}", new[] { 2, 5 })]
    [InlineData("{}", """{"eos_token_id":[7,5]}""", new[] { 2, 7, 5 })]
    [InlineData("""{"eos_token_id":[9]}""", """{"eos_token_id":7}""", new[] { 2, 9 })]
    [InlineData("""{"eos_token_id":null}""", """{"eos_token_id":-1}""", new[] { 2 })]
    [InlineData("{}", """{"bos_token_id":0,"eos_token_id":1}""", new[] { 2 })]
    [InlineData("""{"eos_token_id":[]}""", """{"eos_token_id":[]}""", new[] { 2 })]
    public void Stop_tokens_are_the_vocabularys_and_those_of_the_generation(string generation, string config, int[] stops) =>
        Assert.Equal(stops, LoadModel(("generation_config.json", generation), ("config.json", config)).StopTokenIds);

    [Theory]
    [InlineData("""{"bos_token":"","eos_token":null}""", 1, null)]
    [InlineData("""{"bos_token":{"content":""}}""", 1, 2)]
    [InlineData("""{"bos_token":null}""", null, 2)]
    public void Empty_names_say_nothing_and_null_says_none(string map, int? begin, int? end)
    {
        var tokenizer = LoadModel(("special_tokens_map.json", map), ("config.json", """{"bos_token_id":5,"eos_token_id":6}"""));
        Assert.Equal(begin, tokenizer.BosTokenId);
        Assert.Equal(end, tokenizer.EosTokenId);
    }

    [Fact]
    public void An_added_token_without_text_is_refused() => Assert.Contains("no text", Assert.Throws<TokenizerException>(
        () => LoadModel(("added_tokens.json", """{"":331}"""))).Message, StringComparison.Ordinal);

    [Fact]
    public void A_name_that_the_vocabulary_lacks_is_refused() => Assert.Contains("'nobody'", Assert.Throws<TokenizerException>(
        () => LoadModel(("special_tokens_map.json", """{"eos_token":"nobody"}"""))).Message, StringComparison.Ordinal);

    private static TextTokenizer Load(string folder) => TextTokenizer.FromFolder(SharedData.Path(["failing", .. folder.Split('/')]));

    /// <summary>The vocabulary of the first case with other files beside it.</summary>
    private static TextTokenizer LoadModel(params (string Name, string Content)[] files)
    {
        string folder = TokenizerFixtures.Folder(files);
        File.Copy(SharedData.Path("failing", Special, "tokenizer.model"), Path.Combine(folder, "tokenizer.model"));
        return TextTokenizer.FromFolder(folder);
    }
}
