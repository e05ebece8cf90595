using System.Text.Json.Nodes;
using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>llama.cpp splits text where the rules of published tokenizers do. A vocabulary of pairs of bytes shows every split.</summary>
[Collection(nameof(GgufTextSplitTests))]
public sealed class GgufTextSplitTests
{
    private const string Never = "$^";
    private const string Words = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    private const string Rest = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    private const string Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    private const string CasedRest = @"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private static readonly string[] s_texts =
    [
        "हिन्दी में लिखा", "العَرَبِيَّة العربية", "ภาษาไทยดีมาก", "приВЕТ МОСКВа Ёлка", "ÉCOLE éCole", "tiếng Việt", "한국어 ㄱㄴ",
        "日本語のテキスト 中文，标点。", "ἈΡΧΉ ῴ ᾼ ǅabc", "ŉ ſ 'ſ it'ſ", "x² ½ ③ Ⅷ ٣٤٥٦ १२३४", "a\u00A0b\u2028c d\u3000e",
        "__init__ a_b $x ^y ~z `q` <a>|b", "I'LL don'T it'S we'd'a", "🙂👍🏽 e\u0301 \u0301x", "\u0000\u001F\u007F\u0085",
        "a\u200Bb\u200Dc\uFEFFd", "½1/2 12345678 3.14 2,000 1e-5", "HTTPServer getURLFor", "hello.World!/path//\r\n\r\n  x",
        "don’t ‘a’ “b”", "\t\ttabs  and   spaces \n\n\n end ", "ⅷ ⓐ ª º ʰ ー々", "C++ C# F# .NET", "𝒜𝒞 ß ŒUVRE",
    ];

    // Name, whether words that are tokens are taken whole, texts of 25 that differ, what all of those have, and the file's expressions.
    [Theory]
    [InlineData("gpt-2", false, 0, Never)]
    [InlineData("smollm", false, 0, Never, @"\p{N}")]
    [InlineData("qwen2", false, 0, Never, Words + @"\p{N}" + Rest)]
    [InlineData("dbrx", false, 0, Never, Words + @"\p{N}{1,3}" + Rest)]
    [InlineData("llama-bpe", true, 0, Never, Words + @"\p{N}{1,3}" + Rest)]
    [InlineData("minicpm5", true, 0, Never, @"\p{N}{1,3}", Words + @"\p{N}+" + Rest)]
    [InlineData("qwen35", false, 0, Never,
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")]
    [InlineData("deepseek-v3", false, 1, "~", @"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
        + "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")]
    [InlineData("deepseek-coder", false, 1, "\u00A0|\u3000", "[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", @"\p{N}")]
    [InlineData("gpt-4o", false, 8, @"\p{M}|É|М|Œ|ſ",
        $@"[^\r\n\p{{L}}\p{{N}}]?{Upper}*{Lower}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + $@"|[^\r\n\p{{L}}\p{{N}}]?{Upper}+{Lower}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{{N}}{{1,3}}" + CasedRest)]
    [InlineData("tekken", true, 7, @"\p{M}|É|М|Œ",
        $@"[^\r\n\p{{L}}\p{{N}}]?{Upper}*{Lower}+|[^\r\n\p{{L}}\p{{N}}]?{Upper}+{Lower}*|\p{{N}}" + CasedRest)]
    public void Words_end_where_the_tokenizer_ends_them(
        string name, bool ignoresMerges, int others, string reason, params string[] expressions)
    {
        var differing = new HashSet<string>();
        using var temporary = new TemporaryFolder();
        for (int seed = 0; seed < 4; seed++)
        {
            var tokenizer = TokenizerFolder.Pairs(s_texts, seed);
            tokenizer["model"]!["ignore_merges"] = ignoresMerges;
            tokenizer["pre_tokenizer"] = Split(expressions, name is "gpt-2" or "smollm", inverts: name is "qwen2" or "dbrx");
            string folder = TokenizerFolder.Write(temporary, tokenizer);
            var notes = new List<string>();
            var values = GgufTokenizer.Describe(folder, 8000, notes);
            Assert.Equal(name, values.Single(value => value.Key == "tokenizer.ggml.pre").Value);
            Assert.Equal(others > 0, notes.Any(note => note.Contains("split", StringComparison.Ordinal)));
            Assert.DoesNotContain(notes, note => note.Contains("ignore_merges", StringComparison.Ordinal));

            var own = TextTokenizer.FromFolder(folder);
            using var llama = new LlamaVocabulary(values);
            differing.UnionWith(s_texts.Where(text => !own.Encode(text).SequenceEqual(llama.Encode(text, addSpecial: false))));
        }

        Assert.True(others == differing.Count, $"{differing.Count}: {string.Join(" ; ", differing)}");
        Assert.All(differing, text => Assert.Matches(reason, text));
    }

    /// <summary>Splits and ByteLevel. Some converters write a Split that leaves nothing out as "Removed", inverted.</summary>
    private static JsonObject Split(string[] expressions, bool usesRule, bool inverts) => new()
    {
        ["type"] = "Sequence",
        ["pretokenizers"] = new JsonArray(
        [
            .. expressions.Select(expression => new JsonObject
            {
                ["type"] = "Split",
                ["pattern"] = new JsonObject { ["Regex"] = expression },
                ["behavior"] = inverts ? "Removed" : "Isolated",
                ["invert"] = inverts,
            }),
            new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = usesRule },
        ]),
    };
}
