using System.Text;
using CsCheck;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>LLaMA's kind of tokenizer, from the sample's model and from models written byte by byte.</summary>
[Collection(nameof(SentencePieceTests))]
public sealed class SentencePieceTests
{
    private static TextTokenizer Sample { get; } = TextTokenizer.FromFolder(TokenizerFixtures.SampleModel);

    [Fact]
    public void It_knows_its_special_tokens()
    {
        Assert.Equal(4096, Sample.VocabularySize);
        Assert.Equal(1, Sample.BosTokenId);
        Assert.Equal(2, Sample.EosTokenId);
        Assert.True(Sample.AddBosToken);

        // They have no text, and text does not name them.
        Assert.Equal("", Sample.Decode([1, 2]));
        Assert.DoesNotContain(1, Sample.Encode("<s>"));
    }

    [Fact]
    public void Every_text_comes_back() =>
        Gen.OneOf(Gen.Char, Gen.Char[" \ta\n.e"], Gen.Char['\uD7F0', '\uE010']).Array[0, 60].Select(c => new string(c)).Sample(text =>
        {
            // U+2581 is how SentencePiece writes a space: the two are one to it.
            string sayable = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)).Replace('\u2581', ' ');
            return Sample.Decode(Sample.Encode(text)) == sayable;
        });

    [Fact]
    public void Cutting_into_stretches_changes_no_id()
    {
        // A text without cuts is merged in one go; the joined pair makes one stretch of what would be many.
        var pieces = SentencePieceModel.Read(Path.Combine(TokenizerFixtures.SampleModel, "tokenizer.model"));
        var codec = new SentencePieceCodec(pieces, TokenizerSettings.Read(TokenizerFixtures.Folder()));
        Gen.Char[" ae\nthdcn.,'\u00E9"].Array[1, 80].Select(c => new string(c)).Sample(text =>
        {
            var cut = new List<int>();
            var whole = new List<int>();
            codec.Encode(text, cut);
            codec.EncodeWhole(text, whole);
            return cut.SequenceEqual(whole);
        });
    }

    [Fact]
    public void A_run_without_any_cut_takes_no_square_time()
    {
        var ids = Sample.Encode(new string(' ', 300_000));
        Assert.Equal(new string(' ', 300_000), Sample.Decode(ids));
    }

    [Fact]
    public void User_defined_pieces_are_found_first_and_never_merged()
    {
        byte[] model = Model([("<unk>", 0, 2), ("a", -1, 1), ("b", -2, 1), ("ab", -3, 1), ("<x>", 0, 4), ("<x>a", -1, 1)]);
        var tokenizer = Load(model);
        Assert.Equal([3, 4, 1, 3], tokenizer.Encode("ab<x>aab"));

        // No byte fallback: neighbouring unknown characters are one unknown token.
        Assert.Equal([1, 0, 2], tokenizer.Encode("a??b"));
        Assert.Equal("a \u2047 b", tokenizer.Decode([1, 0, 2]));
    }

    [Fact]
    public void Added_rows_count_and_decode()
    {
        string folder = TokenizerFixtures.Folder(
            ("added_tokens.json", """{"<pad>":6}"""), ("tokenizer_config.json", """{"bos_token":null,"eos_token":{"content":"<pad>"}}"""));
        File.WriteAllBytes(Path.Combine(folder, "tokenizer.model"), Model([("<unk>", 0, 2), ("a", -1, 1)]));
        var tokenizer = TextTokenizer.FromFolder(folder);
        Assert.Equal(7, tokenizer.VocabularySize);
        Assert.Equal(6, tokenizer.EosTokenId);
        Assert.Null(tokenizer.BosTokenId);
        Assert.False(tokenizer.AddBosToken);
        Assert.Equal("a<pad>\uFFFD", tokenizer.Decode([1, 6, 4]));
    }

    [Theory]
    [InlineData("trainer_spec.model_type", 1, 0, 0)]
    [InlineData("normalizer_spec.remove_extra_whitespaces", 2, 1, 0)]
    [InlineData("normalizer_spec.precompiled_charsmap", 2, 0, 4)]
    [InlineData("trainer_spec.byte_fallback", 2, 0, 0)]
    public void What_is_not_followed_is_refused_by_name(string key, byte kind, byte removesSpaces, byte charsmap)
    {
        byte[] model = Model([("<unk>", 0, 2), ("a", -1, 1)], kind, removesSpaces, charsmap,
            byteFallback: key.EndsWith("fallback", StringComparison.Ordinal));
        var error = Assert.Throws<TokenizerException>(() => Load(model));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.model", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_files_are_refused()
    {
        byte[] model = Model([("<unk>", 0, 2), ("a", -1, 1)]);
        Assert.Throws<TokenizerException>(() => Load(model[..^1]));
        Assert.Throws<TokenizerException>(() => Load([]));

        // Cut off between two fields: only pieces are left, or all but the normalizer.
        Assert.Contains("trainer_spec", Assert.Throws<TokenizerException>(() => Load(model[..28])).Message, StringComparison.Ordinal);
        Assert.Contains("normalizer_spec", Assert.Throws<TokenizerException>(() => Load(model[..^8])).Message, StringComparison.Ordinal);
        Assert.Throws<TokenizerException>(() => Load(Encoding.UTF8.GetBytes("version https://git-lfs.github.com/spec/v1")));
    }

    private static TextTokenizer Load(byte[] model)
    {
        string folder = TokenizerFixtures.Folder();
        File.WriteAllBytes(Path.Combine(folder, "tokenizer.model"), model);
        return TextTokenizer.FromFolder(folder);
    }

    /// <summary>A model file: pieces, a trainer's settings, and a normalizer's, without the space in front.</summary>
    private static byte[] Model(
        (string Text, float Score, byte Kind)[] pieces, byte kind = 2, byte removesSpaces = 0, byte charsmap = 0, bool byteFallback = false)
    {
        var file = new List<byte>();
        foreach (var (text, score, pieceKind) in pieces)
        {
            byte[] name = Encoding.UTF8.GetBytes(text);
            AddMessage(1, [0x0A, (byte)name.Length, .. name, 0x15, .. BitConverter.GetBytes(score), 0x18, pieceKind]);
        }

        AddMessage(2, [0x18, kind, .. byteFallback ? new byte[] { 0x98, 0x02, 1 } : []]);
        AddMessage(3, [0x12, charsmap, .. new byte[charsmap], 0x18, 0, 0x20, removesSpaces]);
        return [.. file];

        void AddMessage(int field, byte[] message)
        {
            file.Add((byte)((field << 3) | 2));
            file.Add((byte)message.Length);
            file.AddRange(message);
        }
    }
}
