using System.Globalization;
using System.Text;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>The sets and normalization forms are those of Hugging Face's tokenizers, for every code point.</summary>
[Collection(nameof(UnicodeComparisonTests))]
[Trait("Category", "Slow")]
public sealed class UnicodeComparisonTests
{
    public static TheoryData<string> Sets =>
    [
        .. "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cn Co L LC M N P S Z C Any Assigned Alphabetic"
            .Split(' ').Select(name => $@"\p{{{name}}}"),
        .. "Alpha Alnum Upper Lower Digit Space XDigit Blank Cntrl Graph Print Punct PosixPunct Word Emoji Extended_Pictographic Ideographic"
            .Split(' ').Select(name => $@"\p{{{name}}}"),
        .. "Han Hiragana Katakana Hangul Latin Cyrillic Greek Arabic Hebrew Thai Devanagari Common Inherited Kirat_Rai Adlam Vithkuqi"
            .Split(' ').Select(name => $@"\p{{{name}}}"),
        .. "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".Split(' ').Select(name => $"[[:{name}:]]"),
        @"\w", @"\s", @"\d", @"\h", @"[\w]", ".", "(?i)[a-z]", @"(?i)[\x{370}-\x{38F}]",
    ];

    [Theory]
    [MemberData(nameof(Sets))]
    public void A_set_has_the_same_members(string expression) => Compare("null", $$"""
        {"type":"Sequence","pretokenizers":[
         {"type":"Split","pattern":{"Regex":{{System.Text.Json.JsonSerializer.Serialize(expression)}}},"behavior":"Removed","invert":false},
         {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}
        """, before: "", after: "");

    [Theory]
    [InlineData("NFC")]
    [InlineData("NFD")]
    [InlineData("NFKC")]
    [InlineData("NFKD")]
    [InlineData("Lowercase")]
    [InlineData("StripAccents")]
    [InlineData("Nmt")]
    public void A_normalizer_does_the_same(string type) => Compare(
        $$"""{"type":"{{type}}"}""", """{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}""",
        before: "a\u0316", after: "\u0301\u0323");

    [Theory]
    [InlineData("""{"type":"Digits","individual_digits":true}""")]
    [InlineData("""{"type":"Punctuation","behavior":"Isolated"}""")]
    [InlineData("""{"type":"Whitespace"}""")]
    [InlineData("""{"type":"WhitespaceSplit"}""")]
    public void A_pre_tokenizer_splits_the_same(string preTokenizer) => Compare("null", $$"""
        {"type":"Sequence","pretokenizers":[{{preTokenizer}},{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":false}]}
        """, before: "a", after: "");

    private static void Compare(string normalizer, string preTokenizer, string before, string after)
    {
        string json = TokenizerFixtures.ByteLevelJson(preTokenizer, normalizer: normalizer);
        var tokenizer = TokenizerFixtures.Read(json, TextTokenizer.FromFolder);
        using var original = new HuggingFaceTokenizer(json);
        foreach (var points in Enumerable.Range(0, 0x110000).Where(Rune.IsValid).Where(IsInteresting).Chunk(20_000))
        {
            string text = string.Concat(points.Select(point => before + new Rune(point) + after));
            Assert.Equal(original.Encode(text, addSpecialTokens: false), tokenizer.Encode(text));
        }
    }

    // One unassigned or private code point is like the next.
    private static bool IsInteresting(int point) => point % 64 == 0
        || CharUnicodeInfo.GetUnicodeCategory(point) is not (UnicodeCategory.OtherNotAssigned or UnicodeCategory.PrivateUse);
}
