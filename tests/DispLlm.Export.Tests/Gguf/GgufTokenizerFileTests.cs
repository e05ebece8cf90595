using System.Text.Json.Nodes;
using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>What the metadata says beside the vocabulary, and what is refused.</summary>
[Collection(nameof(GgufTokenizerFileTests))]
public sealed class GgufTokenizerFileTests
{
    [Fact]
    public void Tokens_are_padded_to_the_embedding_and_have_their_kinds()
    {
        using var temporary = new TemporaryFolder();
        var tokenizer = TokenizerFolder.Bytes();
        tokenizer["added_tokens"]!.AsArray().Add(TokenizerFolder.Added("    ", 264, isSpecial: false));
        tokenizer["added_tokens"]!.AsArray().Add(TokenizerFolder.Added("<|far|>", 900, isSpecial: true));
        var notes = new List<string>();
        var values = Describe(temporary, tokenizer, notes, 266);
        var texts = (string[])Value(values, "tokenizer.ggml.tokens");
        int[] kinds = (int[])Value(values, "tokenizer.ggml.token_type");
        Assert.Equal((266, 266), (texts.Length, kinds.Length));
        Assert.Equal(["<|end|>", "[PAD263]", "    ", "[PAD265]"], texts[262..]);
        Assert.Equal([(int)PieceKind.Control, (int)PieceKind.Unused, (int)PieceKind.UserDefined, (int)PieceKind.Unused], kinds[262..]);
        Assert.All(kinds[..262], kind => Assert.Equal((int)PieceKind.Normal, kind));
        Assert.Contains(notes, note => note.Contains("<|far|>", StringComparison.Ordinal));

        // A control token is found where special tokens are asked for, one of the user's always.
        using var llama = new LlamaVocabulary(values);
        Assert.Equal([262], llama.Encode("<|end|>", addSpecial: false));
        Assert.Equal(7, llama.Encode("<|end|>", addSpecial: false, parseSpecial: false).Length);
        Assert.Equal([264], llama.Encode("    ", addSpecial: false, parseSpecial: false));
        Assert.Equal("    <|end|>", llama.Decode([264, 262]));
    }

    [Fact]
    public void Special_tokens_are_those_that_the_tokenizer_uses()
    {
        using var temporary = new TemporaryFolder();
        var tokenizer = TokenizerFolder.Bytes();
        foreach (var (text, id) in (ReadOnlySpan<(string, int)>)[("<s>", 263), ("<pad>", 264), ("<turn>", 265)])
        {
            tokenizer["added_tokens"]!.AsArray().Add(TokenizerFolder.Added(text, id, isSpecial: true));
        }

        tokenizer["post_processor"] = TokenizerFolder.Stage("""
            {"type": "TemplateProcessing", "single": [
             {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
             {"SpecialToken": {"id": "<|end|>", "type_id": 0}}], "special_tokens": {}}
            """);
        string folder = TokenizerFolder.Write(temporary, tokenizer);
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """
            {"bos_token": "<s>", "eos_token": "<|end|>", "pad_token": "<pad>", "chat_template": "{{ messages }}"}
            """);
        File.WriteAllText(Path.Combine(folder, "generation_config.json"), """{"eos_token_id": [262, 265]}""");
        var values = GgufTokenizer.Describe(folder, 266, []);
        Assert.Equal("{{ messages }}", Value(values, "tokenizer.chat_template"));
        Assert.Equal(264u, Value(values, "tokenizer.ggml.padding_token_id"));

        using var llama = new LlamaVocabulary(values);
        Assert.Equal((263, 262, 265), ((int)llama.Tokens.BOS!.Value, (int)llama.Tokens.EOS!.Value, (int)llama.Tokens.EOT!.Value));
        Assert.Equal(TextTokenizer.FromFolder(folder).Encode("hello", addSpecialTokens: true), llama.Encode("hello", addSpecial: true));
        Assert.Equal([263, 259, 262], llama.Encode("hello", addSpecial: true));
    }

    [Fact]
    public void A_template_in_a_file_of_its_own_comes_first_and_several_keep_their_names()
    {
        using var temporary = new TemporaryFolder();
        string folder = TokenizerFolder.Write(temporary, TokenizerFolder.Bytes());
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """
            {"chat_template": [{"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"}]}
            """);
        var values = GgufTokenizer.Describe(folder, 300, []);
        Assert.Equal("one", Value(values, "tokenizer.chat_template"));
        Assert.Equal("two", Value(values, "tokenizer.chat_template.tool_use"));
        Assert.Equal(["tool_use"], (string[])Value(values, "tokenizer.chat_templates"));

        File.WriteAllText(Path.Combine(folder, "chat_template.jinja"), "three");
        Assert.Equal("three", Value(GgufTokenizer.Describe(folder, 300, []), "tokenizer.chat_template"));
    }

    [Fact]
    public void Tokens_that_no_single_one_stands_for_are_noted()
    {
        using var temporary = new TemporaryFolder();
        var tokenizer = TokenizerFolder.Bytes();
        tokenizer["post_processor"] = TokenizerFolder.Stage("""
            {"type": "TemplateProcessing", "single": [
             {"SpecialToken": {"id": "a", "type_id": 0}}, {"SpecialToken": {"id": "b", "type_id": 0}},
             {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}}
            """);
        var notes = new List<string>();
        var values = Describe(temporary, tokenizer, notes);
        Assert.False((bool)Value(values, "tokenizer.ggml.add_bos_token"));
        Assert.Contains(notes, note => note.Contains("'a', 'b'", StringComparison.Ordinal));
    }

    [Fact]
    public void A_token_of_spaces_that_merges_make_is_printed_as_spaces()
    {
        string original = SharedData.Path("tokenizers", "kinds", "gemma");
        using var temporary = new TemporaryFolder();
        var tokenizer = JsonNode.Parse(File.ReadAllText(Path.Combine(original, "tokenizer.json")))!;
        int spaces = (int)tokenizer["model"]!["vocab"]!["▁▁"]!;
        tokenizer["added_tokens"]!.AsArray().Add(TokenizerFolder.Added("▁▁", spaces, isSpecial: false));
        string folder = TokenizerFolder.Write(temporary, tokenizer);
        using var llama = new LlamaVocabulary(GgufTokenizer.Describe(folder, 1600, []));
        foreach (string text in (string[])["a  b", "   four", "if x:\n        return"])
        {
            Assert.Equal(TextTokenizer.FromFolder(folder).Encode(text), llama.Encode(text, addSpecial: false));
            Assert.Equal(text, llama.Decode(llama.Encode(text, addSpecial: false)));
        }
    }

    [Fact]
    public void A_folder_without_a_tokenizer_gives_a_file_without_one()
    {
        using var fixture = new Fixture("llama-gqa-biases-tied");
        using var source = CheckpointSource.Open(fixture.Folder, ModelFamilies.BuiltIn);
        var notes = new List<string>();
        var values = GgufTokenizer.Describe(source, notes);
        Assert.Equal(new GgufValue("tokenizer.ggml.model", "no_vocab"), Assert.Single(values));
        Assert.Contains("no tokenizer", Assert.Single(notes), StringComparison.Ordinal);

        uint rows = (uint)source.Spec.VocabularySize;
        using var llama = new LlamaVocabulary([.. values, new("llama.vocab_size", rows)]);
        Assert.Equal((int)rows, llama.Tokens.Count);
    }

    [Fact]
    public void A_checkpoint_has_as_many_tokens_as_its_embedding_has_rows()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "Fixtures", "small-llama");
        using var source = CheckpointSource.Open(folder, ModelFamilies.BuiltIn);
        var values = GgufTokenizer.Describe(source);
        Assert.Equal(source.Spec.VocabularySize, ((string[])Value(values, "tokenizer.ggml.tokens")).Length);
        using var llama = new LlamaVocabulary(values);
        Assert.Equal(
            TextTokenizer.FromFolder(folder).Encode("Once upon a time, 日本.", addSpecialTokens: true),
            llama.Encode("Once upon a time, 日本.", addSpecial: true));
    }

    public static TheoryData<string, Action<JsonObject>, string, string> Refused => new()
    {
        { "an unknown rule", file => file["pre_tokenizer"] = TokenizerFolder.Stage("""
            {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "xyz"}, "behavior": "Isolated", "invert": false},
             {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}
            """), "pre_tokenizer", "xyz" },
        { "a rule of another behaviour", file => file["pre_tokenizer"] = TokenizerFolder.Stage("""
            {"type": "Sequence", "pretokenizers": [
             {"type": "Split", "pattern": {"Regex": "\\p{N}"}, "behavior": "MergedWithNext", "invert": false},
             {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}]}
            """), "pre_tokenizer", "MergedWithNext" },
        { "a space before a text", file => file["pre_tokenizer"]!["add_prefix_space"] = true, "pre_tokenizer", "add_prefix_space" },
        { "a normalizer", file => file["normalizer"] = TokenizerFolder.Stage("""{"type": "Lowercase"}"""), "normalizer", "Lowercase" },
        { "a vocabulary of neither bytes nor byte tokens", file => file["pre_tokenizer"] = null, "byte_fallback", "<0x00>" },
        { "two tokens of one text", file => file["added_tokens"]!.AsArray().Add(TokenizerFolder.Added("[PAD270]", 271, true)),
            "tokenizer.ggml.tokens", "[PAD270]" },
        { "more tokens than rows", file => file["model"]!["vocab"]!["zz"] = 400, "vocab_size", "zz" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_llama_cpp_cannot_do_is_refused_by_name(string what, Action<JsonObject> change, string key, string named)
    {
        using var temporary = new TemporaryFolder();
        var tokenizer = TokenizerFolder.Bytes();
        Describe(temporary, tokenizer, []);
        change(tokenizer);
        var error = Assert.Throws<ExportException>(() => Describe(temporary, tokenizer, []));
        Assert.True((error.Format, error.Key) == ("gguf", key), $"{what}: {error.Key}");
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Words_that_merges_do_not_build_are_noted_where_llama_cpp_treats_them_otherwise()
    {
        using var temporary = new TemporaryFolder();
        var tokenizer = TokenizerFolder.Bytes();
        tokenizer["model"]!["ignore_merges"] = true;
        var notes = new List<string>();
        Describe(temporary, tokenizer, notes);
        Assert.DoesNotContain(notes, note => note.Contains("ignore_merges", StringComparison.Ordinal));

        tokenizer["model"]!["vocab"]!["xyz"] = 270;
        Describe(temporary, tokenizer, notes);
        Assert.Contains(notes, note => note.StartsWith("1 tokens", StringComparison.Ordinal));
    }

    private static IReadOnlyList<GgufValue> Describe(
        TemporaryFolder folder, JsonObject tokenizer, ICollection<string> notes, int rows = 300) =>
        GgufTokenizer.Describe(TokenizerFolder.Write(folder, tokenizer), rows, notes);

    private static object Value(IEnumerable<GgufValue> values, string key) => values.Single(value => value.Key == key).Value;
}
