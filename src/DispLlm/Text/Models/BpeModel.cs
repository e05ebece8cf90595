using System.Buffers;
using System.Text;

namespace DispLlm;

/// <summary>
/// Byte pair encoding as Hugging Face's tokenizers do it: of all pairs of neighbours that merge, the pair of the lowest rank goes first,
/// and of equals the left one. A priority queue makes a word of n characters n log n. Immutable and thread-safe.
/// </summary>
internal sealed class BpeModel : ITextModel
{
    private readonly Dictionary<string, int> _vocabulary;
    private readonly Dictionary<ulong, int> _ranks;
    private readonly int[] _merged;
    private readonly int?[] _byteIds;
    private readonly BpeOptions _options;
    private readonly string _path;

    /// <param name="vocabulary">Tokens and their ids.</param>
    /// <param name="merges">Pairs of tokens that merge, in order of rank.</param>
    /// <param name="options">How.</param>
    /// <param name="path">The file, for errors.</param>
    public BpeModel(
        Dictionary<string, int> vocabulary, IReadOnlyList<(string Left, string Right)> merges, BpeOptions options, string path)
    {
        _vocabulary = vocabulary;
        _options = options;
        _path = path;
        _ranks = new Dictionary<ulong, int>(merges.Count);
        _merged = new int[merges.Count];
        for (int rank = 0; rank < merges.Count; rank++)
        {
            var (left, right) = merges[rank];
            string stem = right.StartsWith(options.ContinuingPrefix, StringComparison.Ordinal)
                ? right[options.ContinuingPrefix.Length..]
                : throw JsonFiles.Unsupported(path, $"model.merges[{rank}]", $"{left} {right}, without the continuing_subword_prefix");
            _ranks[Pair(Id(left, rank), Id(right, rank))] = rank;
            _merged[rank] = Id(left + stem, rank);
        }

        _byteIds = [.. Enumerable.Range(0, 256).Select(value =>
            options.ByteFallback && vocabulary.TryGetValue(FormattableString.Invariant($"<0x{value:X2}>"), out int id) ? id : (int?)null)];

        int Id(string token, int rank) => vocabulary.TryGetValue(token, out int id) ? id : throw new TokenizerException(
            $"'{path}': vocabulary and merges do not fit together: merge {rank} needs the token '{token}', which the vocabulary lacks.");
    }

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public BpeOptions Options => _options;

    public void Encode(string word, List<int> ids)
    {
        if (_options.IgnoresMerges && _vocabulary.TryGetValue(word, out int whole))
        {
            ids.Add(whole);
            return;
        }

        var symbols = new List<int>(word.Length);
        AddCharacters(word, symbols);
        Merge(symbols, ids);
    }

    /// <summary>
    /// A number for each pair. The hash code of a number of 64 bits is one half of it against the other, the same for all pairs of equals;
    /// a product with an odd number is as unambiguous, and mixes the halves.
    /// </summary>
    private static ulong Pair(int left, int right) => (((ulong)left << 32) | (uint)right) * 0x9E3779B97F4A7C15;

    /// <summary>The ids of the characters of a word. An unknown one is its bytes, where the vocabulary has them.</summary>
    private void AddCharacters(string word, List<int> symbols)
    {
        var lookup = _vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        bool isPlain = _options is { ContinuingPrefix.Length: 0, EndOfWordSuffix.Length: 0 };
        int? unknown = null;
        for (int at = 0, length; at < word.Length; at += length)
        {
            length = char.IsHighSurrogate(word[at]) ? 2 : 1;
            var character = word.AsSpan(at, length);
            string? dressed = isPlain ? null : string.Concat(
                at == 0 ? "" : _options.ContinuingPrefix, character, at + length == word.Length ? _options.EndOfWordSuffix : "");
            if (dressed is null ? lookup.TryGetValue(character, out int id) : _vocabulary.TryGetValue(dressed, out id))
            {
                Flush();
                symbols.Add(id);
            }
            else if (!TryAddBytes(dressed ?? character, symbols) && _options.UnknownToken is not null)
            {
                // Unlike bytes, an unknown character waits for the next one, with which it may be one token.
                if (!_options.FusesUnknown)
                {
                    Flush();
                }

                unknown = UnknownId();
            }
        }

        Flush();

        void Flush()
        {
            if (unknown is { } id)
            {
                symbols.Add(id);
                unknown = null;
            }
        }
    }

    private bool TryAddBytes(ReadOnlySpan<char> text, List<int> symbols)
    {
        if (!_options.ByteFallback)
        {
            return false;
        }

        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text)];
        Encoding.UTF8.GetBytes(text, bytes);
        if (bytes.Any(value => _byteIds[value] is null))
        {
            return false;
        }

        symbols.AddRange(bytes.Select(value => _byteIds[value]!.Value));
        return true;
    }

    private int UnknownId() => _vocabulary.TryGetValue(_options.UnknownToken!, out int id) ? id : throw new TokenizerException(
        $"'{_path}': the text has a character that the vocabulary lacks, and so does it lack the unknown token '{_options.UnknownToken}'.");

    private void Merge(List<int> symbols, List<int> ids)
    {
        if (symbols.Count < 2)
        {
            ids.AddRange(symbols);
            return;
        }

        // Of every symbol its neighbours, and the rank of the merge with the right one; -1 where there is none.
        int count = symbols.Count;
        int[] links = ArrayPool<int>.Shared.Rent(count * 3);
        var previous = links.AsSpan(0, count);
        var next = links.AsSpan(count, count);
        var ranks = links.AsSpan(count * 2, count);
        var queue = new MergeQueue(count);
        for (int i = 0; i < count; i++)
        {
            previous[i] = i - 1;
            next[i] = i + 1;
            ranks[i] = Propose(i, i + 1);
        }

        queue.Begin();
        while (queue.TryTake(out int rank, out int left))
        {
            // One of the two may have been merged with another one since.
            if (ranks[left] < 0 || _merged[ranks[left]] != _merged[rank])
            {
                continue;
            }

            int right = next[left];
            symbols[left] = _merged[rank];
            symbols[right] = -1;
            ranks[right] = -1;
            next[left] = next[right];
            ranks[left] = Propose(left, next[left]);
            if (next[left] < count)
            {
                previous[next[left]] = left;
            }

            if (previous[left] >= 0)
            {
                ranks[previous[left]] = Propose(previous[left], left);
            }
        }

        ArrayPool<int>.Shared.Return(links);
        ids.AddRange(symbols.Where(symbol => symbol >= 0));

        int Propose(int left, int right)
        {
            if (right == count || !_ranks.TryGetValue(Pair(symbols[left], symbols[right]), out int rank))
            {
                return -1;
            }

            queue.Add(rank, left);
            return rank;
        }
    }
}

/// <summary>How <see cref="BpeModel"/> treats words. An immutable value.</summary>
internal sealed record BpeOptions
{
    /// <summary>Whether a word that is a token is taken whole, even where merges would not build it (LLaMA 3).</summary>
    public bool IgnoresMerges { get; init; }

    /// <summary>Whether an unknown character becomes tokens like &lt;0x0A&gt;, one for each of its bytes.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>The token of an unknown character; without one, it is left out.</summary>
    public string? UnknownToken { get; init; }

    /// <summary>Whether neighbouring unknown characters are one unknown token.</summary>
    public bool FusesUnknown { get; init; }

    /// <summary>What the vocabulary writes before a character that does not begin a word.</summary>
    public string ContinuingPrefix { get; init; } = "";

    /// <summary>What the vocabulary writes after a character that ends a word.</summary>
    public string EndOfWordSuffix { get; init; } = "";
}
