using System.Globalization;
using System.Text;

namespace DispLlm;

/// <summary>
/// SentencePiece's BPE with byte fallback. Of two equal merges the left one goes first. A priority queue makes a word of n characters
/// n log n. Immutable and thread-safe.
/// </summary>
internal sealed class SentencePieceMerger
{
    // Longer spans than this hardly ever recur: caching their ids is not worth the memory.
    private const int LongestRemembered = 32;

    private readonly SentencePieceModel _model;
    private readonly Dictionary<string, (int Id, float Score)> _mergeable = [];
    private readonly Dictionary<char, List<string>> _userDefined = [];
    private readonly HashSet<uint> _joined = [];
    private readonly int[] _byteIds = new int[256];
    private readonly int _longest;

    public SentencePieceMerger(SentencePieceModel model)
    {
        _model = model;
        int bytePieces = 0;
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            var (text, score, kind) = model.Pieces[id];
            if (kind == PieceKind.Byte)
            {
                _byteIds[ParseByte(text, model.FilePath)] = id;
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

        _longest = _mergeable.Keys.Select(piece => piece.Length).DefaultIfEmpty().Max();
    }

    /// <summary>The byte of a piece like &lt;0x0A&gt;.</summary>
    public static byte ParseByte(string text, string path) =>
        text.Length == 6 && byte.TryParse(text.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? value
            : throw JsonFiles.Unsupported(path, "byte piece", text);

    /// <summary>
    /// Encodes span by span. Two adjacent characters that no piece contains next to each other are never merged, so the text can be split
    /// between them with the same ids; in a natural vocabulary that is before every word. Words recur and are cached, which makes this
    /// linear.
    /// </summary>
    /// <param name="escaped">Text in which spaces are U+2581, not empty.</param>
    /// <param name="known">The ids of words so far.</param>
    /// <param name="ids">Where the ids go.</param>
    public void Encode(string escaped, Dictionary<string, int[]> known, List<int> ids)
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

    private bool IsCut(char left, char right) => !char.IsLowSurrogate(right) && !_joined.Contains(((uint)left << 16) | right);

    /// <summary>
    /// Merges the best-scored adjacent pair that is a piece, the left one of equals, until there is none, as SentencePiece does.
    /// <see cref="Encode"/> gives the same ids.
    /// </summary>
    public void Merge(ReadOnlySpan<char> text, List<int> ids)
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

    private struct Symbol
    {
        public int Start;
        public int Length;
        public int Previous;
        public int Next;
        public bool IsFrozen;
    }
}
