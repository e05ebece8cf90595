using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>llama.cpp tokenizes by the metadata as the tokenizer does, string by string.</summary>
[Collection(nameof(GgufTokenizerTests))]
public sealed class GgufTokenizerTests
{
    private const string Never = "$^";
    private const string NotNormalized = "NFC";

    /// <summary>The name of a byte token, which these vocabularies also list as a special token, so that a text can name it.</summary>
    private const string ByteName = "<0x";

    // Kind, model, rule, strings of 244 that differ, and what all of those have.
    [Theory]
    [InlineData("deepseek", "gpt2", "deepseek-coder", 0, Never)]
    [InlineData("falcon", "gpt2", "falcon", 0, Never)]
    [InlineData("gpt-4o", "gpt2", "gpt-4o", 0, Never)]
    [InlineData("llama-3", "gpt2", "llama-bpe", 0, Never)]
    [InlineData("starcoder", "gpt2", "smollm", 0, Never)]
    [InlineData("tekken", "gpt2", "tekken", 0, Never)]
    [InlineData("gpt-neox", "gpt2", "gpt-2", 33, NotNormalized)]
    [InlineData("qwen", "gpt2", "qwen2", 33, NotNormalized)]
    [InlineData("gemma", "llama", "default", 1, ByteName)]
    [InlineData("llama-2", "llama", "default", 1, ByteName)]
    [InlineData("phi-3", "llama", "default", 1, ByteName)]
    [InlineData("metaspace-always", "llama", "default", 36, $"{ByteName}|(^|<s>|</s>|<unk>)[ ▁]")]
    [InlineData("mistral-metaspace", "llama", "default", 86, $@"{ByteName}|^[ ▁]|(<s>|</s>|<unk>|\[/?INST\]).")]
    public void Strings_of_each_kind_have_the_tokenizers_ids(string kind, string model, string rule, int others, string reason)
    {
        string folder = SharedData.Path("tokenizers", "kinds", kind);
        string[] texts = Texts(JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")))!);
        var notes = new List<string>();
        var values = GgufTokenizer.Describe(folder, 1600, notes);
        Assert.Equal(model, Value(values, "tokenizer.ggml.model"));
        Assert.Equal(rule, Value(values, "tokenizer.ggml.pre"));

        var tokenizer = TextTokenizer.FromFolder(folder);
        using var llama = new LlamaVocabulary(values);
        string[] differing = [.. texts.Where(text => !IsSame(tokenizer, llama, text))];
        Assert.Equal(244, texts.Length);
        Assert.Equal(others, differing.Length);
        Assert.All(differing, text => Assert.True(
            reason == NotNormalized ? Normalize(text) != text : Regex.IsMatch(text, reason, RegexOptions.Singleline), text));

        // What the notes say of the difference, and advise, holds.
        if (reason == NotNormalized)
        {
            Assert.Contains(notes, note => note.Contains("NFC", StringComparison.Ordinal));
            Assert.All(texts, text => Assert.Equal(tokenizer.Encode(text), llama.Encode(Normalize(text), addSpecial: false)));
        }
        else if (kind.Contains("metaspace", StringComparison.Ordinal))
        {
            Assert.Contains(notes, note => note.Contains("puts a space", StringComparison.Ordinal));
        }

        foreach (string text in texts)
        {
            // Programs print what is generated token by token: the space before a text stays.
            int[] ids = [.. tokenizer.Encode(text)];
            string printed = llama.Decode(ids);
            if (kind == "metaspace-always")
            {
                // Its own decoder writes bytes as their names.
                Assert.Equal(Squeeze(text), Squeeze(printed));
            }
            else
            {
                string decoded = tokenizer.Decode(ids);
                Assert.True(printed == decoded || (model == "llama" && printed == " " + decoded), text);
            }
        }

        static string Squeeze(string text) => Regex.Replace(text, "[ ▁]", "").Replace("<0x41>", "A", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenizers/phi", "gpt2", "gpt-2")]
    [InlineData("models/SmolLM2-135M-Instruct", "gpt2", "smollm")]
    [InlineData("models/small-opt", "gpt2", "gpt-2")]
    [InlineData("models/small-phi", "gpt2", "gpt-2")]
    [InlineData("tokenizers/llama", "llama", "default")]
    [InlineData("models/small-llama", "llama", "default")]
    public void Strings_have_the_ids_of_published_tokenizers(string name, string model, string rule)
    {
        string folder = SharedData.Path(name.Split('/'));
        string[] texts = Texts(JsonNode.Parse(File.ReadAllText(SharedData.Path("tokenizers", "expected.json")))![name]!);
        var values = GgufTokenizer.Describe(folder, 60_000, []);
        Assert.Equal(model, Value(values, "tokenizer.ggml.model"));
        Assert.Equal(rule, Value(values, "tokenizer.ggml.pre"));

        // Control tokens of a tokenizer.model are not found in a text, whatever its names say.
        bool parses = model != "llama";
        var tokenizer = TextTokenizer.FromFolder(folder);
        using var llama = new LlamaVocabulary(values);
        Assert.Equal(101, texts.Length);
        Assert.All(texts, text => Assert.True(IsSame(tokenizer, llama, text, parses), text));
        Assert.All(texts, text =>
        {
            string decoded = tokenizer.Decode(tokenizer.Encode(text));
            string printed = llama.Decode(tokenizer.Encode(text));
            Assert.True(printed == decoded || (model == "llama" && printed == " " + decoded), text);
        });
    }

    [Fact]
    public void Strings_have_the_ids_of_the_samples_tokenizer()
    {
        string fixtures = Path.Combine(AppContext.BaseDirectory, "Fixtures");
        string[] texts = Texts(JsonNode.Parse(File.ReadAllText(Path.Combine(fixtures, "tokenizers", "small-llama.json")))!);
        var tokenizer = TextTokenizer.FromFolder(Path.Combine(fixtures, "small-llama"));
        using var llama = new LlamaVocabulary(GgufTokenizer.Describe(Path.Combine(fixtures, "small-llama"), 5000, []));
        Assert.NotEmpty(texts);
        Assert.All(texts, text => Assert.True(IsSame(tokenizer, llama, text, parses: false), text));
    }

    [Fact]
    public void Two_files_of_GPT_2_are_described_as_one()
    {
        string folder = SharedData.Path("models", "small-opt");
        using var temporary = new TemporaryFolder();
        Directory.CreateDirectory(temporary.Below("two"));
        foreach (string file in (string[])["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"])
        {
            File.Copy(Path.Combine(folder, file), temporary.Below(Path.Combine("two", file)));
        }

        var whole = GgufTokenizer.Describe(folder, 4096, []);
        var two = GgufTokenizer.Describe(temporary.Below("two"), 4096, []);
        foreach (string key in (string[])["model", "pre", "tokens", "merges", "eos_token_id"])
        {
            Assert.Equal(Value(whole, $"tokenizer.ggml.{key}"), Value(two, $"tokenizer.ggml.{key}"));
        }

        var tokenizer = TextTokenizer.FromFolder(temporary.Below("two"));
        using var llama = new LlamaVocabulary(two);
        string[] texts = ["Once upon a time, 日本 12345!", "</s>Once</s>", "  two\n\nlines "];
        Assert.All(texts, text => Assert.True(IsSame(tokenizer, llama, text), text));
    }

    [Fact]
    public void A_unigram_tokenizer_keeps_its_ids()
    {
        // Pieces with scores that make every text ambiguous, and a character that no piece has.
        string[] pieces = ["▁", "t", "h", "e", "▁the", "th", "he", "▁t", "re", "r", "▁there", "er", "é", "日", "▁日", "本", ".", "\n", "1"];
        var tokenizer = TokenizerFolder.Unigram(
        [
            ("<unk>", 0), .. pieces.Select((piece, index) => (piece, -2 - (index * 7 % 11) + (0.9 * piece.Length))),
        ]);
        tokenizer["added_tokens"] = new JsonArray(
            TokenizerFolder.Added("<unk>", 0, isSpecial: true), TokenizerFolder.Added("</s>", pieces.Length + 1, isSpecial: true));
        using var temporary = new TemporaryFolder();
        string folder = TokenizerFolder.Write(temporary, tokenizer);
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """{"eos_token": "</s>", "unk_token": "<unk>"}""");
        var notes = new List<string>();
        var values = GgufTokenizer.Describe(folder, 32, notes);
        Assert.Equal("t5", Value(values, "tokenizer.ggml.model"));
        var own = TextTokenizer.FromFolder(folder);
        using var llama = new LlamaVocabulary(values);
        string[] texts =
        [
            "the", "there", "the there", "the  there", "ethere", "日本", "the 日本.", "é\nthe", "zzz", "the zz there", "</s>the",
            "there</s> the", "1x",
        ];
        string[] differing = [.. texts.Where(text => !IsSame(own, llama, text))];

        // Where the text has a space of its own, llama.cpp adds one, which a note says.
        Assert.Equal(["there</s> the"], differing);
        Assert.Contains(notes, note => note.Contains("also where the text has one", StringComparison.Ordinal));
    }

    private static string Normalize(string text) => UnicodeNormalization.Normalize(text, compose: true, compatibility: false);

    private static string[] Texts(JsonNode cases) => [.. cases.AsArray().Select(entry => (string)entry!["text"]!)];

    private static object Value(IEnumerable<GgufValue> values, string key) => values.Single(value => value.Key == key).Value;

    /// <summary>Whether both tokenize alike, with the tokens around a text and without.</summary>
    private static bool IsSame(TextTokenizer tokenizer, LlamaVocabulary llama, string text, bool parses = true) =>
        tokenizer.Encode(text).SequenceEqual(llama.Encode(text, addSpecial: false, parses))
        && tokenizer.Encode(text, addSpecialTokens: true).SequenceEqual(llama.Encode(text, addSpecial: true, parses));
}
