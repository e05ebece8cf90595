namespace DispLlm;

/// <summary>
/// A model's tokenizer, as its checkpoint folder holds it: LLaMA's SentencePiece (<c>tokenizer.model</c>), Hugging Face's
/// <c>tokenizer.json</c> (BPE or unigram), or GPT-2's two files (<c>vocab.json</c> and <c>merges.txt</c>). Immutable and thread-safe.
/// </summary>
public sealed class TextTokenizer
{
    private readonly ITokenCodec _codec;

    internal TextTokenizer(ITokenCodec codec, TokenizerSettings settings)
    {
        _codec = codec;
        VocabularySize = codec.VocabularySize;
        BosTokenId = settings.BeginOfTextId(codec);
        EosTokenId = settings.EndOfTextId(codec);
        AddBosToken = BosTokenId is { } begin && (settings.AddsBeginOfText ?? codec.Template.Before.Contains(begin));
        TokensBefore = settings.AddsBeginOfText switch
        {
            true when BosTokenId is { } first => [first],
            false => [],
            _ => codec.Template.Before,
        };
        TokensAfter = settings.AddsEndOfText switch
        {
            true when EosTokenId is { } end => [end],
            false => [],
            _ => codec.Template.After,
        };

        // Early conversions name the token that opens a text as the one that ends it.
        var stops = settings.StopTokenIds.Where(id => id != BosTokenId || id == EosTokenId);
        StopTokenIds = [.. (EosTokenId is { } eos ? stops.Prepend(eos) : stops).Distinct()];
    }

    /// <summary>The vocabulary, for those who compare two or count the bytes of a token.</summary>
    internal ITokenCodec Codec => _codec;

    /// <summary>The tokens that are put before a text when special tokens are added.</summary>
    internal IReadOnlyList<int> TokensBefore { get; }

    /// <summary>The tokens that are put after a text when special tokens are added.</summary>
    internal IReadOnlyList<int> TokensAfter { get; }

    /// <summary>One more than the highest id. A model's embedding may have more rows, as padding.</summary>
    public int VocabularySize { get; }

    /// <summary>The token that opens a text, if the model has one.</summary>
    public int? BosTokenId { get; }

    /// <summary>The token that ends a text, if the model has one.</summary>
    public int? EosTokenId { get; }

    /// <summary>
    /// The tokens that end a generation: <see cref="EosTokenId"/>, and <c>eos_token_id</c>, a number or a list, of
    /// <c>generation_config.json</c> or else of <c>config.json</c>. Chat models often have several.
    /// </summary>
    public IReadOnlyList<int> StopTokenIds { get; }

    /// <summary>
    /// Whether the model was trained to see <see cref="BosTokenId"/> before a text: <c>add_bos_token</c> of
    /// <c>tokenizer_config.json</c>, or else what this kind of file does (yes for LLaMA's).
    /// </summary>
    public bool AddBosToken { get; }

    /// <summary>Reads the tokenizer of a checkpoint folder.</summary>
    /// <param name="folder">
    /// The folder, with <c>tokenizer.json</c>, or else <c>tokenizer.model</c>, or else <c>vocab.json</c> and <c>merges.txt</c>.
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
    /// The ids of a text, as the model's original tokenizer returns them. Special tokens in it, such as <c>&lt;|im_start|&gt;</c>, are
    /// recognized. A lone surrogate, which no encoding can express, counts as U+FFFD.
    /// </summary>
    /// <param name="text">The text; a megabyte takes about a second.</param>
    /// <param name="addSpecialTokens">
    /// Whether to add the tokens that the tokenizer puts around a text: what <c>tokenizer.json</c> says, unless <c>add_bos_token</c> or
    /// <c>add_eos_token</c> of <c>tokenizer_config.json</c> says otherwise. Default no.
    /// </param>
    /// <exception cref="TokenizerException">
    /// An expression of the tokenizer takes too long, or the tokenizer has no token for a character, and none for unknown ones.
    /// </exception>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<int> ids = [.. addSpecialTokens ? TokensBefore : []];
        if (text.Length > 0)
        {
            _codec.Encode(CodePoints.WithoutLoneSurrogates(text), ids);
        }

        ids.AddRange(addSpecialTokens ? TokensAfter : []);
        return ids;
    }

    /// <summary>
    /// The text of ids. Bytes that are no UTF-8, such as a part of a character, become U+FFFD, as does an id the tokenizer has no token
    /// for. Control tokens of <c>tokenizer.model</c> have no text; other special tokens keep their name.
    /// </summary>
    /// <param name="ids">The ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out. Default no.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is negative.</exception>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(ids);
        int[] all = [.. ids];
        foreach (int id in all)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, nameof(ids));
        }

        return _codec.Decode(all, skipSpecialTokens);
    }

    /// <summary>
    /// A token as the vocabulary writes it, such as <c>▁the</c>, <c>Ġthe</c> or <c>&lt;0x0A&gt;</c>;
    /// <see langword="null"/> where the id has none.
    /// </summary>
    /// <param name="id">The id.</param>
    public string? GetToken(int id) => _codec.FindToken(id);

    /// <summary>Whether a folder holds a tokenizer that <see cref="FromFolder"/> would read.</summary>
    internal static bool IsIn(string folder) =>
        File.Exists(Path.Combine(folder, "tokenizer.json")) || File.Exists(Path.Combine(folder, "tokenizer.model"))
        || (File.Exists(Path.Combine(folder, "vocab.json")) && File.Exists(Path.Combine(folder, "merges.txt")));

    private static ITokenCodec ReadCodec(string folder, TokenizerSettings settings)
    {
        string sentencePiece = Path.Combine(folder, "tokenizer.model");
        string json = Path.Combine(folder, "tokenizer.json");
        string vocabulary = Path.Combine(folder, "vocab.json");
        string merges = Path.Combine(folder, "merges.txt");

        // tokenizer.json first, as transformers does: it is whole, while a tokenizer.model beside it may lack tokens that were added
        // later, and is a file of another kind (tiktoken's) for some models.
        if (File.Exists(json))
        {
            return TokenizerJson.Read(json, settings);
        }

        if (File.Exists(sentencePiece))
        {
            return new SentencePieceCodec(SentencePieceModel.Read(sentencePiece), settings);
        }

        if (File.Exists(vocabulary) && File.Exists(merges))
        {
            return TokenizerJson.ReadVocabularyAndMerges(vocabulary, merges, settings);
        }

        throw new TokenizerException(
            $"'{folder}' holds no tokenizer: neither tokenizer.json, nor tokenizer.model, nor vocab.json with merges.txt. " +
            "Copy the files of the model's original folder there.");
    }
}
