using System.Text;

namespace DispLlm;

/// <summary>LLaMA's tokenizer: a SentencePiece model file, with the special tokens that the files beside it name. Thread-safe.</summary>
internal sealed class SentencePieceCodec : ITokenCodec
{
    private const char Space = '\u2581';

    private readonly SentencePieceMerger _merger;
    private readonly Dictionary<string, int> _ids = [];
    private readonly Dictionary<int, string> _names = [];
    private readonly Dictionary<int, byte[]> _bytes = [];
    private readonly HashSet<int> _special = [];
    private readonly AddedTokenSplitter _added;

    /// <param name="model">The model file.</param>
    /// <param name="settings">What the files beside it say.</param>
    public SentencePieceCodec(SentencePieceModel model, TokenizerSettings settings)
    {
        Model = model;
        _merger = new SentencePieceMerger(model);
        PrefixesOnce = !settings.IsLegacy;
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            var (text, _, kind) = model.Pieces[id];
            _ids.TryAdd(text, id);
            _names.Add(id, text);
            _bytes.Add(id, kind switch
            {
                PieceKind.Normal or PieceKind.UserDefined => Encoding.UTF8.GetBytes(text.Replace(Space, ' ')),
                PieceKind.Unknown => Encoding.UTF8.GetBytes(" \u2047 "),
                PieceKind.Byte => [SentencePieceMerger.ParseByte(text, model.FilePath)],
                _ => [],
            });
            if (kind is PieceKind.Control or PieceKind.Unknown)
            {
                _special.Add(id);
            }
        }

        AddedTokens = [.. settings.TokensInText(FindId).Select(token => token with { IsNormalized = false })];
        foreach (var token in AddedTokens)
        {
            Add(token);
        }

        VocabularySize = _bytes.Keys.Max() + 1;
        _added = new AddedTokenSplitter(AddedTokens, TextNormalizer.Read(null), model.FilePath);
        Template = settings.BeginOfTextId(this) is { } begin ? new TokenTemplate([begin], []) : TokenTemplate.None;
    }

    public SentencePieceModel Model { get; }

    /// <summary>The tokens that are found in a text before the pieces.</summary>
    public IReadOnlyList<AddedToken> AddedTokens { get; }

    /// <summary>Whether the space before a text goes before its first part only, not before each part after a token.</summary>
    public bool PrefixesOnce { get; }

    public int VocabularySize { get; }

    public TokenTemplate Template { get; }

    public int? BeginOfTextId => Existing(Model.BeginOfTextId);

    public int? EndOfTextId => Existing(Model.EndOfTextId);

    public int? FindId(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    public string? FindToken(int id) => _names.GetValueOrDefault(id);

    public void Encode(string text, List<int> ids)
    {
        var known = new Dictionary<string, int[]>();
        foreach (var (piece, id) in _added.Split(text))
        {
            if (id is { } added)
            {
                ids.Add(added);
            }
            else
            {
                _merger.Encode(Escape(piece), known, ids);
            }
        }
    }

    public string Decode(IReadOnlyList<int> ids, bool skipSpecialTokens)
    {
        using var bytes = new MemoryStream();
        foreach (int id in ids)
        {
            if (!skipSpecialTokens || !_special.Contains(id))
            {
                bytes.Write(_bytes.GetValueOrDefault(id) ?? "\uFFFD"u8);
            }
        }

        // The space that encoding put before the text.
        string text = Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
        return Model.AddDummyPrefix && text.StartsWith(' ') ? text[1..] : text;
    }

    /// <summary>The same ids, without splitting: what <see cref="Encode"/> is tested against.</summary>
    internal void EncodeWhole(string text, List<int> ids) => _merger.Merge(Escape(TextPiece.Whole(text)), ids);

    // -1 says that there is no such token.
    private int? Existing(int id) => id >= 0 && id < Model.Pieces.Count ? id : null;

    private string Escape(TextPiece piece) =>
        (Model.AddDummyPrefix && (piece.Lead > 0 || !PrefixesOnce) ? Space + piece.Text : piece.Text).Replace(' ', Space);

    /// <summary>A row that fine-tuning added after the vocabulary, or a piece of the vocabulary that is to be found in a text.</summary>
    private void Add(AddedToken token)
    {
        if (_ids.TryAdd(token.Content, token.Id))
        {
            _bytes[token.Id] = Encoding.UTF8.GetBytes(token.Content);
            _names.TryAdd(token.Id, token.Content);
        }

        if (token.IsSpecial)
        {
            _special.Add(token.Id);
        }
    }
}
