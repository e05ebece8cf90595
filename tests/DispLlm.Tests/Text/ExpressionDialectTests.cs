using System.Text.Json;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Expressions in Oniguruma's dialect split texts as Hugging Face's tokenizers do, which use Oniguruma.</summary>
[Collection(nameof(ExpressionDialectTests))]
public sealed class ExpressionDialectTests
{
    private static readonly string[] s_expressions =
    [
        // Anchors.
        "^", "$", "^a|b$", @"\s+$", @"\A.", @".\z", @"\s*\Z", @"\bab", @"\B", @"\w\b", "(?<=B)", "(?=B)", "(?<!B)c", "(?!a)", @"(?=\s)\s",
        "(?<=a)b|c",

        // Quantifiers.
        @"\p{L}++|\p{N}{1,3}", "a*+a", "a?+b", "x*", "a{,3}|\\s", "a{2}?", "a{1,2}?", "a{1,2}+", "a{2,1}", "a**", "(?:a|b)+?c",
        "x{1,3}?y", "a{0}b", "a{2,}",
        "{a}", "a{x}", "a{,}", "a{", "(?>a+)b", "(?:ab)*", @"\s*[\r\n]+|\s+(?!\S)|\s+", "a||b", "a|b|",

        // Sets.
        "[𐐀-𐑏]+|\\p{L}+", "[ࠀ-一]+", "[[:punct:]]", "[[:alpha:]]+", "[[:alnum:]_]+", "[[:^alpha:]]", "[^[:space:]]+",
        "[[:upper:]][[:lower:]]*", "[[:digit:]]+",
        "[[:word:]]+", "[[:xdigit:]]+", "[[:blank:]]+", "[[:cntrl:]]+", "[[:graph:]]+", "[[:print:]]+", "[[:ascii:]]+", "[a-w&&[^c-g]z]+",
        "[^a&&[^b]]+",
        "[[a-c][x-z]]+", "[^[a-c]x]+", "[a[b]-z]+", @"[^(\s|[.,!?…。，、।۔،])]+", "[]a]", "[-a]", "[a-]", "[a-c-e]+", "[+--]+", @"[a\-z]+",
        @"[\w&&\d]+", "[a-b-]+",
        @"[\b]", @"[\h]+", @"[\s&&[^ ]]+", "[.$^|(){}*+?]+", @"[\x41-\x43]+", @"[\u0041-\u0043]+", @"[\x{1F600}-\x{1F64F}]",
        @"[^\p{^L}]+", "[🙂-🙃]", "[a-z&&^b]+",

        // Properties.
        @"\p{Han}+", @"\p{Hiragana}+|\p{Katakana}+", @"\p{Arabic}+", @"\p{Gothic}+", @"\p{ Lu }", @"\p{Lowercase_Letter}+", @"\p{^L}+",
        @"\P{L}+", @"\p{Emoji}",
        @"\p{Extended_Pictographic}", @"\p{M}+", @"\p{So}", @"\p{Punct}+", @"\p{Alpha}+", @"\p{Word}+", @"\p{LC}+", @"\p{Cn}",
        @"\p{Deseret}+", @"\p{Common}+", @"\pL",

        // Escapes.
        @"\h+", @"\H+", @"\R", @"\N+", @"\O", @"\v", @"\e", @"\x{1F642}", @"\u00e9", @"\101", @"\t|\n", @"\é", @"\/", @"\d+", @"\D+",
        @"\W+", @"\S+", @"\w+", @"\cA", @"\x41",

        // Groups and options.
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?i)the", "a(?i)b|c", "(?i:a)b|c", "(?i)(?-i:a)b", "(?m:.)+", "(?-m:.)+", "(?m)a.b", "a.b",
        "(?x)a b # c", "(?#c)a",
        "(?<n>a)b", "(a)(b)", "(?i)[a-c]+", "(?i)[^a]+", @"(?i)\p{Lu}+", "(?i)σ+", "(?i)k", "(?i)é",
    ];

    private static readonly string[] s_texts =
    [
        "a\nab\nb\n", "\n", "aba", "abaBcacaC", "ABabcC", "aaaab b", "ab xab a-ab", "aBcB", "Bcc", "aab", "abac", "axxb", "xxxyy",
        "a\r\nb\n\nc", "{a}b a{x}b a{,}b a{",
        "the 1234", "the >> «x» $5+3=8 ^`~|", "a1٣²Ⅷ½ _b", "𐐀𐐁x🙂🙃🦙𐍈", "日本語カタカナひらがな العربية", "e\u0301 ǅʰ ß'LL 'ſ K\u212A ΣσςΑ",
        "tab\tnbsp\u00A0x\u3000y\u200Bz\u0085", "(a,b).[c]{d}*+?",
        "A\u0001\u001B\u0008\u007F", "café CAFÉ É", "a]-b+,-.z\\", "don't I'LL we'Ve", "  x  \n \n  y  ", "straight", "",
    ];

    [Fact]
    public void Expressions_split_as_the_originals()
    {
        foreach (string expression in s_expressions)
        {
            string json = Json(expression);
            try
            {
                HuggingFaceTokenizer.AssertSame(json, [.. s_texts, .. PipelineOptions.Texts(60, seed: 8)]);
            }
            catch (Exception e) when (e is Xunit.Sdk.XunitException or TokenizerException)
            {
                Assert.Fail($"{expression}: {e.Message}");
            }
        }
    }

    [Theory]
    [InlineData(@"(a)\1", "\\1")]
    [InlineData(@"\Ga", "\\G")]
    [InlineData(@"\X", "\\X")]
    [InlineData("(?~a)", "(?~")]
    [InlineData("(?s).", "(?s")]
    [InlineData("(?<a", "'>'")]
    [InlineData("[a", "']'")]
    [InlineData("[]", "empty")]
    [InlineData("a)", "'('")]
    [InlineData("*a", "nothing to repeat")]
    [InlineData(@"\p{Nonsense}", "Nonsense")]
    [InlineData("[[:nonsense:]]", "nonsense")]
    [InlineData("[z-a]", "upside down")]
    [InlineData(@"[\d-z]", "begins with a set")]
    [InlineData("(?i)ss", "sharp s")]
    [InlineData("(?i)[ß]", "sharp s")]
    [InlineData("(?i)[[:upper:]]+", "sharp s")]
    [InlineData(@"\x{110000}", "code point")]
    public void What_has_no_equal_is_refused(string expression, string why)
    {
        var error = Assert.Throws<TokenizerException>(
            () => TextTokenizer.FromFolder(TokenizerFixtures.Folder(("tokenizer.json", Json(expression)))));
        Assert.Contains("tokenizer.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("pre_tokenizer", error.Message, StringComparison.Ordinal);
        Assert.Contains(expression, error.Message, StringComparison.Ordinal);
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Category", "Slow")]
    public void An_expression_that_takes_too_long_is_named()
    {
        var tokenizer = TokenizerFixtures.Read(Json("(?:a|aa)+$"), TextTokenizer.FromFolder);
        var error = Assert.Throws<TokenizerException>(() => tokenizer.Encode(new string('a', 60) + "!"));
        Assert.Contains("pre_tokenizer.pretokenizers[0]", error.Message, StringComparison.Ordinal);
        Assert.Contains("seconds", error.Message, StringComparison.Ordinal);
    }

    // A space before every word shows where words begin.
    private static string Json(string expression) => TokenizerFixtures.ByteLevelJson($$"""
        {"type":"Sequence","pretokenizers":[
         {"type":"Split","pattern":{"Regex":{{JsonSerializer.Serialize(expression)}}},"behavior":"Isolated","invert":false},
         {"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":false}]}
        """).Replace("\"model\"", "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\"model\"",
        StringComparison.Ordinal);
}
