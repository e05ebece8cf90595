using System.Globalization;
using System.Text;

namespace DispLlm;

/// <summary>
/// LLaMA's tokenizer: SentencePiece BPE with byte fallback. Of two equal merges SentencePiece takes the left one first, while
/// Microsoft.ML.Tokenizers 2.0.1 takes the right one, which gives other ids for every run of an odd number of equal letters or spaces
/// ("aaa"); hence the merging here. Thread-safe.
/// </summary>
internal sealed class SentencePieceCodec : ITokenCodec
{
    private const char Space = '\u2581';

    // Longer spans than this hardly ever recur: caching their ids is not worth the memory.
    private const int LongestRemembered = 32;

    private readonly SentencePieceModel _model;
    private readonly Dictionary<string, (int Id, float Score)> _mergeable = [];
    private readonly Dictionary<string, int> _ids = [];
    private readonly Dictionary<char, List<string>> _userDefined = [];
    private readonly HashSet<uint> _joined = [];
    private readonly int[] _byteIds = new int[256];
    private readonly List<byte[]?> _bytes = [];
    private readonly Dictionary<int, string> _names = [];
    private readonly HashSet<int> _special = [];
    private readonly AddedTokenSplitter _added;
    private readonly bool _prefixesOnce;
    private readonly int _longest;

    /// <param name="model">The model file.</param>
    /// <param name="settings">What the files beside it say.</param>
    public SentencePieceCodec(SentencePieceModel model, TokenizerSettings settings)
    {
        _model = model;
        _prefixesOnce = !settings.IsLegacy;
        int bytePieces = 0;
        foreach (var (text, score, kind) in model.Pieces)
        {
            int id = _bytes.Count;
            _ids.TryAdd(text, id);
            _names.Add(id, text);
            if (kind is PieceKind.Control or PieceKind.Unknown)
            {
                _special.Add(id);
            }

            _bytes.Add(kind switch
            {
                PieceKind.Normal or PieceKind.UserDefined => Encoding.UTF8.GetBytes(text.Replace(Space, ' ')),
                PieceKind.Unknown => Encoding.UTF8.GetBytes(" \u2047 "),
                PieceKind.Byte => [ParseByte(text)],
                _ => [],
            });

            if (kind == PieceKind.Byte)
            {
                _byteIds[ParseByte(text)] = id;
                bytePieces++;
            }
            else if (kind is PieceKind.Normal or PieceKind.UserDefined)
            {
                AddMergeable(text, score, kind, id);
            }
        }

        if (model.ByteFallback && bytePieces != 256)
        {
            throw JsonFiles.Unsupported(model.FilePath, "trainer_spec.byte_fallback", $"true with {bytePieces} byte pieces instead of 256");
        }

        // Rows that fine-tuning added after the vocabulary, and pieces of the vocabulary that are to be found in a text.
        AddedToken[] added = [.. settings.TokensInText(FindId)];
        foreach (var token in added)
        {
            while (_bytes.Count <= token.Id)
            {
                _bytes.Add(null);
            }

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

        _longest = _mergeable.Keys.Select(piece => piece.Length).DefaultIfEmpty().Max();
        _added = new AddedTokenSplitter([.. added.Select(token => token with { IsNormalized = false })], TextNormalizer.Read(null), model.FilePath);
    }

    public int VocabularySize => _bytes.Count;

    public TokenTemplate Template => BeginOfTextId is { } begin ? new TokenTemplate([begin], []) : TokenTemplate.None;

    public int? BeginOfTextId => _model.BeginOfTextId >= 0 ? _model.BeginOfTextId : null;

    public int? EndOfTextId => _model.EndOfTextId >= 0 ? _model.EndOfTextId : null;

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
                EncodePiece(Escape(piece), known, ids);
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
                bytes.Write((id < _bytes.Count ? _bytes[id] : null) ?? "\uFFFD"u8);
            }
        }

        // The space that encoding put before the text.
        string text = Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
        return _model.AddDummyPrefix && text.StartsWith(' ') ? text[1..] : text;
    }

    /// <summary>The same ids, without splitting: what <see cref="Encode"/> is tested against.</summary>
    internal void EncodeWhole(string text, List<int> ids) => Merge(Escape(TextPiece.Whole(text)), ids);

    /// <summary>
    /// Encodes span by span. Two adjacent characters that no piece contains next to each other are never merged, so the text can be split
    /// between them with the same ids; in a natural vocabulary that is before every word. Words recur and are cached, which makes this
    /// linear.
    /// </summary>
    private void EncodePiece(string escaped, Dictionary<string, int[]> known, List<int> ids)
    {
        int before = ids.Count;
        var knownSpans = known.GetAlternateLookup<ReadOnlySpan<char>>();
        var fresh = new List<int>();
        for (int start = 0, end; start < escaped.Length; start = end)
        {
            end = start + 1;
            while (end < escaped.Length && !IsCut(escaped[end - 1], escaped[end]))
            {
                end++;
            }

            var stretch = escaped.AsSpan(start, end - start);
            if (!knownSpans.TryGetValue(stretch, out int[]? found))
            {
                fresh.Clear();
                Merge(stretch, fresh);
                found = [.. fresh];
                if (stretch.Length <= LongestRemembered)
                {
                    knownSpans[stretch] = found;
                }
            }

            // Adjacent unknown characters are one unknown token, across spans as well.
            bool continues = found[0] == _model.UnknownId && ids.Count > before && ids[^1] == _model.UnknownId;
            ids.AddRange(found.AsSpan(continues ? 1 : 0));
        }
    }

    private string Escape(TextPiece piece) =>
        (_model.AddDummyPrefix && (piece.Lead > 0 || !_prefixesOnce) ? Space + piece.Text : piece.Text).Replace(' ', Space);

    private bool IsCut(char left, char right) => !char.IsLowSurrogate(right) && !_joined.Contains(((uint)left << 16) | right);

    /// <summary>
    /// Merges the best-scored adjacent pair that is a piece, the left one of equals, until there is none, as SentencePiece does.
    /// </summary>
    private void Merge(ReadOnlySpan<char> text, List<int> ids)
    {
        if (text.Length == 1 || (text.Length == 2 && char.IsHighSurrogate(text[0])))
        {
            AddPiece(text, ids);
            return;
        }

        var pieces = _mergeable.GetAlternateLookup<ReadOnlySpan<char>>();
        var symbols = Split(text);
        var queue = new PriorityQueue<(int Left, int Right, int Length), (float Score, int Left)>(BestFirst);
        for (int i = 1; i < symbols.Length; i++)
        {
            Propose(i - 1, i, text);
        }

        while (queue.TryDequeue(out var pair, out _))
        {
            ref var left = ref symbols[pair.Left];
            ref var right = ref symbols[pair.Right];

            // One of the two has been merged with another symbol.
            if (left.Length == 0 || right.Length == 0 || left.Length + right.Length != pair.Length)
            {
                continue;
            }

            left.Length = pair.Length;
            left.Next = right.Next;
            right.Length = 0;
            if (right.Next >= 0)
            {
                symbols[right.Next].Previous = pair.Left;
            }

            Propose(left.Previous, pair.Left, text);
            Propose(pair.Left, left.Next, text);
        }

        for (int i = 0; i >= 0; i = symbols[i].Next)
        {
            AddPiece(text.Slice(symbols[i].Start, symbols[i].Length), ids);
        }

        void Propose(int left, int right, ReadOnlySpan<char> text)
        {
            if (left < 0 || right < 0 || symbols[left].IsFrozen || symbols[right].IsFrozen)
            {
                return;
            }

            int length = symbols[left].Length + symbols[right].Length;
            if (length <= _longest && pieces.TryGetValue(text.Slice(symbols[left].Start, length), out var piece))
            {
                queue.Enqueue((left, right, length), (piece.Score, left));
            }
        }
    }

    private static readonly Comparer<(float Score, int Left)> BestFirst = Comparer<(float Score, int Left)>.Create(
        (a, b) => a.Score != b.Score ? b.Score.CompareTo(a.Score) : a.Left.CompareTo(b.Left));

    /// <summary>One symbol per code point; a user-defined piece is one symbol from the start, and is never merged.</summary>
    private Symbol[] Split(ReadOnlySpan<char> text)
    {
        var symbols = new List<Symbol>(text.Length);
        for (int start = 0; start < text.Length;)
        {
            int length = char.IsHighSurrogate(text[start]) ? 2 : 1;
            bool isFrozen = false;
            foreach (string piece in _userDefined.GetValueOrDefault(text[start]) ?? [])
            {
                if (text[start..].StartsWith(piece, StringComparison.Ordinal))
                {
                    (length, isFrozen) = (piece.Length, true);
                    break;
                }
            }

            int at = symbols.Count;
            symbols.Add(new Symbol { Start = start, Length = length, Previous = at - 1, Next = at + 1, IsFrozen = isFrozen });
            start += length;
        }

        Symbol[] result = [.. symbols];
        result[^1].Next = -1;
        return result;
    }

    private void AddPiece(ReadOnlySpan<char> text, List<int> ids)
    {
        if (_mergeable.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(text, out var piece))
        {
            ids.Add(piece.Id);
        }
        else if (_model.ByteFallback)
        {
            Span<byte> utf8 = stackalloc byte[4];
            foreach (byte b in utf8[..Encoding.UTF8.GetBytes(text, utf8)])
            {
                ids.Add(_byteIds[b]);
            }
        }
        else if (ids.Count == 0 || ids[^1] != _model.UnknownId)
        {
            ids.Add(_model.UnknownId);
        }
    }

    private void AddMergeable(string text, float score, PieceKind kind, int id)
    {
        if (text.Length == 0 || !_mergeable.TryAdd(text, (id, score)))
        {
            throw new TokenizerException($"'{_model.FilePath}': piece {id} ('{text}') is empty or listed twice.");
        }

        for (int i = 1; i < text.Length; i++)
        {
            _joined.Add(((uint)text[i - 1] << 16) | text[i]);
        }

        if (kind == PieceKind.UserDefined)
        {
            if (!_userDefined.TryGetValue(text[0], out var pieces))
            {
                _userDefined.Add(text[0], pieces = []);
            }

            // The longest match is taken.
            pieces.Add(text);
            pieces.Sort((a, b) => b.Length - a.Length);
        }
    }

    private byte ParseByte(string text) =>
        text.Length == 6 && byte.TryParse(text.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? value
            : throw JsonFiles.Unsupported(_model.FilePath, "byte piece", text);

    private struct Symbol
    {
        public int Start;
        public int Length;
        public int Previous;
        public int Next;
        public bool IsFrozen;
    }
}
