using System.Buffers;
using System.Text;
using System.Text.Json;

namespace DispLlm;

/// <summary>A token outside the merges: matched in the text before anything else.</summary>
internal sealed record AddedToken(string Content, int Id)
{
    /// <summary>Whether it is matched in normalized text, itself normalized.</summary>
    public bool IsNormalized { get; init; }

    /// <summary>Whether it takes the spaces before it along.</summary>
    public bool StripsLeft { get; init; }

    /// <summary>Whether it takes the spaces after it along.</summary>
    public bool StripsRight { get; init; }

    /// <summary>Whether it is only matched where no word character is beside it.</summary>
    public bool IsSingleWord { get; init; }

    /// <summary>Whether decoding can leave it out.</summary>
    public bool IsSpecial { get; init; }

    /// <summary>Reads one as tokenizer.json and tokenizer_config.json write it.</summary>
    public static AddedToken Read(JsonElement element, int id, string path)
    {
        string content = JsonFiles.Text(element, "content", path);
        return new AddedToken(content.Length > 0 ? content : throw new TokenizerException($"'{path}': added token {id} has no text."), id)
        {
            IsNormalized = JsonFiles.Boolean(element, "normalized", false, path),
            StripsLeft = JsonFiles.Boolean(element, "lstrip", false, path),
            StripsRight = JsonFiles.Boolean(element, "rstrip", false, path),
            IsSingleWord = JsonFiles.Boolean(element, "single_word", false, path),
            IsSpecial = JsonFiles.Boolean(element, "special", false, path),
        };
    }
}

/// <summary>
/// Finds added tokens in a text: at every position the longest match, from left to right. Tokens that match the raw text come first, then
/// those that match normalized text in what is left; so a special token wins over a run of spaces beside it. Immutable and thread-safe.
/// </summary>
internal sealed class AddedTokenSplitter
{
    private readonly TextNormalizer _normalizer;
    private readonly Pass _raw;
    private readonly Pass _normalized;

    /// <param name="tokens">The tokens.</param>
    /// <param name="normalizer">What text is normalized with between the two passes.</param>
    /// <param name="path">The file, for errors.</param>
    public AddedTokenSplitter(IReadOnlyList<AddedToken> tokens, TextNormalizer normalizer, string path)
    {
        _normalizer = normalizer;
        _raw = new Pass(tokens.Where(token => !token.IsNormalized).Select(token => (token.Content, token)));
        _normalized = new Pass(tokens.Where(token => token.IsNormalized).Select(token =>
        {
            string content = normalizer.Apply(TextPiece.Whole(token.Content)).Text;
            return content.Length > 0 ? (content, token) : throw new TokenizerException(
                $"'{path}': of added token '{token.Content}', which is to be matched in normalized text, normalization leaves nothing. "
                + "Set its \"normalized\" to false.");
        }));
    }

    /// <summary>The text in pieces: either an added token's id, or normalized text between them.</summary>
    public IEnumerable<(TextPiece Piece, int? Id)> Split(string text)
    {
        foreach (var (piece, id) in _raw.Split(TextPiece.Whole(text)))
        {
            if (id is not null)
            {
                yield return (piece, id);
                continue;
            }

            foreach (var part in _normalized.Split(_normalizer.Apply(piece)))
            {
                yield return part;
            }
        }
    }

    private sealed class Pass
    {
        private readonly Dictionary<char, (string Content, AddedToken Token)[]> _byFirst;
        private readonly SearchValues<char> _first;

        public Pass(IEnumerable<(string Content, AddedToken Token)> tokens)
        {
            // Of tokens that look alike, a special one wins.
            _byFirst = tokens
                .GroupBy(entry => entry.Content[0])
                .ToDictionary(group => group.Key, group => group
                    .OrderByDescending(entry => entry.Content.Length).ThenByDescending(entry => entry.Token.IsSpecial).ToArray());
            _first = SearchValues.Create([.. _byFirst.Keys]);
        }

        public IEnumerable<(TextPiece Piece, int? Id)> Split(TextPiece piece)
        {
            string text = piece.Text;
            int done = 0;
            for (int at = 0; (at = Find(text, at, out string content, out var token)) >= 0;)
            {
                int start = at;
                int end = at += content.Length;
                if (token!.IsSingleWord && (EndsWithWord(text.AsSpan(0, start)) || StartsWithWord(text.AsSpan(end))))
                {
                    continue;
                }

                while (token.StripsLeft && start > done && char.IsWhiteSpace(text[start - 1]))
                {
                    start--;
                }

                while (token.StripsRight && end < text.Length && char.IsWhiteSpace(text[end]))
                {
                    end++;
                }

                if (start > done)
                {
                    yield return (piece.Slice(done, start), null);
                }

                // The search continues after the token itself: the spaces it took along may begin another token.
                yield return (piece.Slice(start, end), token.Id);
                done = end;
            }

            if (done < text.Length)
            {
                yield return (piece.Slice(done, text.Length), null);
            }
        }

        private int Find(string text, int from, out string content, out AddedToken? found)
        {
            for (int at = from; at < text.Length; at++)
            {
                int next = text.AsSpan(at).IndexOfAny(_first);
                if (next < 0)
                {
                    break;
                }

                at += next;
                foreach (var (candidate, token) in _byFirst[text[at]])
                {
                    if (text.AsSpan(at).StartsWith(candidate, StringComparison.Ordinal))
                    {
                        (content, found) = (candidate, token);
                        return at;
                    }
                }
            }

            (content, found) = ("", null);
            return -1;
        }

        private static bool EndsWithWord(ReadOnlySpan<char> text) =>
            text.Length > 0 && Rune.DecodeLastFromUtf16(text, out var rune, out _) == OperationStatus.Done && IsWord(rune.Value);

        private static bool StartsWithWord(ReadOnlySpan<char> text) =>
            text.Length > 0 && Rune.DecodeFromUtf16(text, out var rune, out _) == OperationStatus.Done && IsWord(rune.Value);

        private static bool IsWord(int point) => point is 0x200C or 0x200D || UnicodeTables.Word.Contains(point);
    }
}
