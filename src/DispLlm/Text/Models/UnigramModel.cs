using System.Text;

namespace DispLlm;

/// <summary>
/// SentencePiece's unigram model as Hugging Face's tokenizers compute it: the pieces whose scores add up to the most. Immutable and
/// thread-safe.
/// </summary>
internal sealed class UnigramModel : ITextModel
{
    /// <summary>How much worse an unknown character is than the worst piece.</summary>
    private const double UnknownPenalty = 10;

    private readonly Dictionary<string, int> _vocabulary = [];
    private readonly double[] _scores;
    private readonly int _longest;
    private readonly double _unknownScore;
    private readonly string _path;

    public UnigramModel(IReadOnlyList<(string Piece, double Score)> pieces, int? unknownId, bool byteFallback, string path)
    {
        _scores = [.. pieces.Select(entry => entry.Score)];
        for (int id = 0; id < pieces.Count; id++)
        {
            _vocabulary[pieces[id].Piece] = id;
        }

        UnknownId = unknownId is null || unknownId < pieces.Count
            ? unknownId
            : throw JsonFiles.Unsupported(path, "model.unk_id", $"{unknownId}, of {pieces.Count} pieces");
        ByteFallback = byteFallback;
        _longest = pieces.Select(entry => entry.Piece.Length).DefaultIfEmpty().Max();
        _unknownScore = _scores.DefaultIfEmpty().Min() - UnknownPenalty;
        _path = path;
    }

    public IReadOnlyDictionary<string, int> Vocabulary => _vocabulary;

    public IReadOnlyList<double> Scores => _scores;

    public int? UnknownId { get; }

    public bool ByteFallback { get; }

    public void Encode(string word, List<int> ids)
    {
        var found = new Stack<string>();
        var best = FindBestPath(word);
        int unknownEnd = -1;
        for (int end = word.Length; end > 0; end = best[end].Start)
        {
            // Neighbouring unknown characters are one.
            bool isUnknown = best[end].Id == UnknownId;
            if (isUnknown && unknownEnd >= 0)
            {
                found.Pop();
            }

            unknownEnd = !isUnknown ? -1 : unknownEnd >= 0 ? unknownEnd : end;
            found.Push(word[best[end].Start..(isUnknown ? unknownEnd : end)]);
        }

        foreach (string piece in found)
        {
            AddPiece(piece, ids);
        }
    }

    /// <summary>For every place in a word, the piece that ends the best path to it.</summary>
    private (int Start, int Id, double Score)[] FindBestPath(string word)
    {
        var lookup = _vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        var best = new (int Start, int Id, double Score)[word.Length + 1];
        Array.Fill(best, (-1, -1, 0));
        for (int start = 0, width; start < word.Length; start += width)
        {
            width = char.IsHighSurrogate(word[start]) ? 2 : 1;
            bool hasCharacter = false;
            for (int length = width; length <= _longest && start + length <= word.Length; length++)
            {
                if (lookup.TryGetValue(word.AsSpan(start, length), out int id))
                {
                    Propose(start, length, id, _scores[id]);
                    hasCharacter |= length == width;
                }
            }

            if (!hasCharacter)
            {
                Propose(start, width, UnknownId ?? throw NoUnknown(), _unknownScore);
            }
        }

        return best;

        void Propose(int start, int length, int id, double score)
        {
            double total = score + best[start].Score;
            if (best[start + length].Start < 0 || total > best[start + length].Score)
            {
                best[start + length] = (start, id, total);
            }
        }
    }

    private void AddPiece(string piece, List<int> ids)
    {
        if (_vocabulary.TryGetValue(piece, out int id))
        {
            ids.Add(id);
            return;
        }

        int[] bytes = [.. Encoding.UTF8.GetBytes(piece).Select(value =>
            ByteFallback && _vocabulary.TryGetValue(FormattableString.Invariant($"<0x{value:X2}>"), out int byteId) ? byteId : -1)];
        if (bytes.Contains(-1))
        {
            ids.Add(UnknownId ?? throw NoUnknown());
        }
        else
        {
            ids.AddRange(bytes);
        }
    }

    private TokenizerException NoUnknown() =>
        new($"'{_path}': the text has a character that the vocabulary lacks, and model.unk_id names no unknown token.");
}
