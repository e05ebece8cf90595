using System.Text;
using CsCheck;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Byte-level BPE from files small enough to know the answer by hand. Ids 0 to 255 are the bytes.</summary>
[Collection(nameof(ByteLevelTests))]
public sealed class ByteLevelTests
{
    private static TextTokenizer Load(string json) => TextTokenizer.FromFolder(TokenizerFixtures.Folder(("tokenizer.json", json)));

    [Fact]
    public void Every_text_comes_back()
    {
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(merges: [("a", "a"), ("\u0120", "a"), ("\u0120", "\u0120"), ("aa", "aa")]));
        Gen.OneOf(Gen.Char, Gen.Char[" \ta\n0'"], Gen.Char['\uD7F0', '\uE010']).Array[0, 60].Select(c => new string(c)).Sample(text =>
        {
            // A lone surrogate has no UTF-8; everything else is kept to the letter, control characters included.
            string sayable = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
            return tokenizer.Decode(tokenizer.Encode(text)) == sayable;
        });
    }

    [Fact]
    public void Half_a_character_decodes_to_the_replacement_character()
    {
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson());
        Assert.Equal("x\uFFFD", tokenizer.Decode(['x', 0xE2, 0x82]));
        Assert.Equal("€", tokenizer.Decode([0xE2, 0x82, 0xAC]));
        Assert.Equal("\uFFFD", tokenizer.Decode([9999]));
        Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.Decode([-1]));
    }

    [Fact]
    public void Letters_beyond_the_first_plane_are_letters()
    {
        // U+1D41A, a mathematical a, is a letter: with the letter before it, it is one word, inside which the merge of their bytes works.
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(merges: [("a", "\u00F0")]));
        Assert.Equal([256, 0x9D, 0x90, 0x9A], tokenizer.Encode("a\U0001D41A"));

        // An emoji is none.
        Assert.Equal(['a', 0xF0, 0x9F, 0x99, 0x82], tokenizer.Encode("a\U0001F642"));
    }

    [Fact]
    public void Of_equal_merges_the_left_one_goes_first()
    {
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(merges: [("a", "a")]));
        Assert.Equal([256, 'a'], tokenizer.Encode("aaa"));
    }

    [Fact]
    public void Digits_are_cut_one_by_one_before_anything_else_sees_them()
    {
        const string Digits =
            """{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]}""";
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(Digits, merges: [("1", "2"), ("\u0120", "1"), ("\u0120", "\u0120")]));
        Assert.Equal(['1', '2'], tokenizer.Encode("12"));

        // Two spaces before a digit stay together: the rule sees only the part before the digit.
        Assert.Equal([258, '1'], tokenizer.Encode("  1"));
    }

    [Fact]
    public void A_split_by_its_own_expression_keeps_what_does_not_match()
    {
        const string Split =
            """{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{N}{1,3}"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}""";
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(Split, merges: [("3", "4"), ("b", "\u0120")]));
        Assert.Equal(['1', '2', '3', '4', 257, 'c'], tokenizer.Encode("1234b c"));
    }

    [Fact]
    public void A_prefix_space_is_added_where_there_is_none()
    {
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson("""{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}"""));
        Assert.Equal(tokenizer.Encode(" x"), tokenizer.Encode("x"));
    }

    [Fact]
    public void Added_tokens_are_found_longest_first_and_special_ones_before_all()
    {
        const string Added = """
            [{"id":300,"content":"  ","normalized":true,"special":false},{"id":301,"content":"   ","normalized":true,"special":false},
             {"id":302,"content":" <e>","normalized":false,"special":true},
             {"id":303,"content":"<m>","normalized":false,"special":true,"lstrip":true,"rstrip":true}]
            """;
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(addedTokens: Added));
        Assert.Equal(304, tokenizer.VocabularySize);
        Assert.Equal([301], tokenizer.Encode("   "));
        Assert.Equal([301, 300], tokenizer.Encode("     "));
        Assert.Equal([300, 302, 'x'], tokenizer.Encode("   <e>x"));
        Assert.Equal(['a', 303, 'b'], tokenizer.Encode("a <m>\n b"));
        Assert.Equal("   <e>", tokenizer.Decode([300, 302]));
    }

    [Fact]
    public void A_word_that_is_a_token_is_taken_whole_where_merges_are_ignored()
    {
        // "abc" is in the vocabulary, but no chain of merges in this order reaches it.
        (string, string)[] merges = [("b", "c"), ("a", "b"), ("ab", "c")];
        Assert.Equal(['a', 256], Load(TokenizerFixtures.ByteLevelJson(merges: merges)).Encode("abc"));
        Assert.Equal([258], Load(TokenizerFixtures.ByteLevelJson(modelKeys: "\"ignore_merges\":true,", merges: merges)).Encode("abc"));
    }

    [Fact]
    public void A_template_tells_that_texts_begin_with_a_token()
    {
        const string Added = """[{"id":256,"content":"<b>","special":true}]""";
        const string Template =
            """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<b>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]}""";
        var tokenizer = Load(TokenizerFixtures.ByteLevelJson(addedTokens: Added, postProcessor: Template));
        Assert.True(tokenizer.AddBosToken);
        Assert.Equal(256, tokenizer.BosTokenId);
        Assert.Equal(['x'], tokenizer.Encode("x"));
    }

    [Theory]
    [InlineData("model.type", "WordPiece")]
    [InlineData("model.dropout", "0.1")]
    [InlineData("normalizer.type", "Precompiled")]
    [InlineData("pre_tokenizer.type", "UnicodeScripts")]
    [InlineData("pre_tokenizer.pretokenizers[0].type", "UnicodeScripts")]
    [InlineData("pre_tokenizer.prepend_scheme", "sometimes")]
    [InlineData("decoder.type", "WordPiece")]
    [InlineData("post_processor.type", "Other")]
    [InlineData(".behavior", "MergedWithBoth")]
    [InlineData("expression", "cannot be read")]
    public void What_is_not_followed_is_refused_by_name(string key, string value)
    {
        const string Split =
            """{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"REGEX"},"behavior":"BEHAVIOR"},{"type":"ByteLevel"}]}""";
        string type = $$"""{"type":"{{value}}"}""";
        string json = key switch
        {
            "model.type" => TokenizerFixtures.ByteLevelJson().Replace("\"BPE\"", "\"WordPiece\"", StringComparison.Ordinal),
            "model.dropout" => TokenizerFixtures.ByteLevelJson(modelKeys: "\"dropout\":0.1,"),
            "normalizer.type" => TokenizerFixtures.ByteLevelJson(normalizer: type),
            "pre_tokenizer.type" => TokenizerFixtures.ByteLevelJson(type),
            "pre_tokenizer.prepend_scheme" => TokenizerFixtures.ByteLevelJson(
                """{"type":"Metaspace","replacement":"_","prepend_scheme":"sometimes"}"""),
            "decoder.type" => TokenizerFixtures.ByteLevelJson().Replace("\"model\"", $"\"decoder\":{type},\"model\"", StringComparison.Ordinal),
            "post_processor.type" => TokenizerFixtures.ByteLevelJson(postProcessor: type),
            ".behavior" => TokenizerFixtures.ByteLevelJson(Split.Replace("BEHAVIOR", value, StringComparison.Ordinal)),
            "expression" => TokenizerFixtures.ByteLevelJson(
                Split.Replace("BEHAVIOR", "Isolated", StringComparison.Ordinal).Replace("REGEX", "(", StringComparison.Ordinal)),
            _ => TokenizerFixtures.ByteLevelJson($$"""{"type":"Sequence","pretokenizers":[{{type}}]}"""),
        };
        var error = Assert.Throws<TokenizerException>(() => Load(json));
        Assert.Contains("tokenizer.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains(value, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_files_are_named()
    {
        Assert.Contains("not valid JSON", Assert.Throws<TokenizerException>(() => Load("{")).Message, StringComparison.Ordinal);
        Assert.Contains("JSON object", Assert.Throws<TokenizerException>(() => Load("[]")).Message, StringComparison.Ordinal);
        Assert.Contains("cannot be read", Assert.Throws<TokenizerException>(() => Load(TokenizerFixtures.ByteLevelJson(
            """{"type":"Sequence"}"""))).Message, StringComparison.Ordinal);
        Assert.Contains("an id", Assert.Throws<TokenizerException>(() => Load(TokenizerFixtures.ByteLevelJson(
            addedTokens: """[{"id":2000000000,"content":"x"}]"""))).Message, StringComparison.Ordinal);
        Assert.Contains("model", Assert.Throws<TokenizerException>(() => Load("{}")).Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.model", Assert.Throws<TokenizerException>(
            () => TextTokenizer.FromFolder(TokenizerFixtures.Folder())).Message, StringComparison.Ordinal);
        Assert.Contains("no folder", Assert.Throws<TokenizerException>(() => TextTokenizer.FromFolder("/no/such/folder")).Message,
            StringComparison.Ordinal);
    }
}
