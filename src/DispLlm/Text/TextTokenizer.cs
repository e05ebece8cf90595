using System.Text;

namespace DispLlm;

/// <summary>
/// A model's tokenizer, as its checkpoint folder holds it: LLaMA's SentencePiece (<c>tokenizer.model</c>), byte-level BPE
/// (<c>tokenizer.json</c>), or GPT-2's two files (<c>vocab.json</c> and <c>merges.txt</c>). Immutable and thread-safe.
/// </summary>
public sealed class TextTokenizer
{
    private readonly ITokenCodec _codec;

    internal TextTokenizer(ITokenCodec codec, TokenizerSettings settings)
    {
        _codec = codec;
        VocabularySize = codec.TokenBytes.Count;
        BosTokenId = settings.BeginOfTextId(codec);
        EosTokenId = settings.EndOfTextId(codec);
        AddBosToken = BosTokenId is not null && (settings.AddsBeginOfText ?? codec.AddsBeginOfTextByDefault);
    }

    /// <summary>The vocabulary, for those who compare two or count the bytes of a token.</summary>
    internal ITokenCodec Codec => _codec;

    /// <summary>One more than the highest id. A model's embedding may have more rows, as padding.</summary>
    public int VocabularySize { get; }

    /// <summary>The token that opens a text, if the model has one.</summary>
    public int? BosTokenId { get; }

    /// <summary>The token that ends a text, if the model has one.</summary>
    public int? EosTokenId { get; }

    /// <summary>
    /// Whether the model was trained to see <see cref="BosTokenId"/> before a text: <c>add_bos_token</c> of
    /// <c>tokenizer_config.json</c>, or else what this kind of file does (yes for LLaMA's).
    /// </summary>
    public bool AddBosToken { get; }

    /// <summary>Reads the tokenizer of a checkpoint folder.</summary>
    /// <param name="folder">
    /// The folder, with <c>tokenizer.model</c>, <c>tokenizer.json</c>, or <c>vocab.json</c> and <c>merges.txt</c>.
    /// </param>
    /// <exception cref="TokenizerException">There is none, it cannot be read, or it needs something that is not supported.</exception>
    public static TextTokenizer FromFolder(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
        {
            throw new TokenizerException($"There is no folder '{folder}' to read a tokenizer from.");
        }

        try
        {
            var settings = TokenizerSettings.Read(folder);
            return new TextTokenizer(ReadCodec(folder, settings), settings);
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or IOException or UnauthorizedAccessException)
        {
            // JSON of another shape than expected: a text where a list should be.
            throw new TokenizerException($"The tokenizer files of '{folder}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>
    /// The ids of a text, without special tokens around it. The same as the model's original tokenizer returns; a lone surrogate, which
    /// no encoding can express, counts as U+FFFD.
    /// </summary>
    /// <param name="text">The text; a megabyte takes about a second.</param>
    public IReadOnlyList<int> Encode(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>();
        if (text.Length > 0)
        {
            _codec.Encode(CodePoints.WithoutLoneSurrogates(text), ids);
        }

        return ids;
    }

    /// <summary>
    /// The text of ids. Bytes that are no UTF-8, such as a part of a character, become U+FFFD, as does an id the tokenizer has no token
    /// for. SentencePiece's control tokens have no text; byte-level special tokens keep their name.
    /// </summary>
    /// <param name="ids">The ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is negative.</exception>
    public string Decode(IEnumerable<int> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        using var bytes = new MemoryStream();
        foreach (int id in ids)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, nameof(ids));
            bytes.Write((id < _codec.TokenBytes.Count ? _codec.TokenBytes[id] : null) ?? "\uFFFD"u8);
        }

        string text = Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
        return _codec.DropsFirstSpace && text.StartsWith(' ') ? text[1..] : text;
    }

    private static ITokenCodec ReadCodec(string folder, TokenizerSettings settings)
    {
        string sentencePiece = Path.Combine(folder, "tokenizer.model");
        string json = Path.Combine(folder, "tokenizer.json");
        string vocabulary = Path.Combine(folder, "vocab.json");
        string merges = Path.Combine(folder, "merges.txt");

        // tokenizer.model first: where both are there, the other one is a conversion of it.
        if (File.Exists(sentencePiece))
        {
            return new SentencePieceCodec(SentencePieceModel.Read(sentencePiece), settings.AddedTokens);
        }

        if (File.Exists(json))
        {
            return new ByteLevelCodec(ByteLevelDefinition.ReadTokenizerJson(json));
        }

        if (File.Exists(vocabulary) && File.Exists(merges))
        {
            return new ByteLevelCodec(ByteLevelDefinition.ReadVocabularyAndMerges(vocabulary, merges, settings));
        }

        throw new TokenizerException(
            $"'{folder}' holds no tokenizer: neither tokenizer.model, nor tokenizer.json, nor vocab.json with merges.txt. " +
            "Copy the files of the model's original folder there.");
    }
}
