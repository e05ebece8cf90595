using System.Buffers;
using System.Text.Json;

namespace DispLlm;

/// <summary>A token outside the merges: matched in the text before anything else.</summary>
internal sealed record AddedToken(string Content, int Id, bool IsNormalized = false, bool StripsLeft = false, bool StripsRight = false)
{
    /// <summary>Reads one as tokenizer.json and tokenizer_config.json write it.</summary>
    public static AddedToken Read(JsonElement element, int id, string path)
    {
        string content = JsonFiles.Text(element, "content", path);
        if (content.Length == 0)
        {
            throw new TokenizerException($"'{path}': added token {id} has no text.");
        }

        if (JsonFiles.Boolean(element, "single_word", false, path))
        {
            throw JsonFiles.Unsupported(path, $"added token '{content}', single_word", "true");
        }

        return new AddedToken(
            content,
            id,
            JsonFiles.Boolean(element, "normalized", false, path),
            JsonFiles.Boolean(element, "lstrip", false, path),
            JsonFiles.Boolean(element, "rstrip", false, path));
    }
}

/// <summary>
/// Finds added tokens in a text: at every position the longest match, from left to right. Tokens that match the raw text come first, then
/// those that match normalized text in what is left; so a special token wins over a run of spaces beside it. Immutable and thread-safe.
/// </summary>
internal sealed class AddedTokenSplitter
{
    private readonly Pass[] _passes;

    public AddedTokenSplitter(IReadOnlyList<AddedToken> tokens) =>
        _passes = [.. tokens.GroupBy(t => t.IsNormalized).OrderBy(group => group.Key).Select(group => new Pass(group))];

    /// <summary>The text in pieces: either an added token's id, or text between them.</summary>
    public IEnumerable<(string? Text, int Id)> Split(string text)
    {
        IEnumerable<(string? Text, int Id)> pieces = [(text, -1)];
        foreach (var pass in _passes)
        {
            pieces = pieces.SelectMany(piece => piece.Text is null ? [piece] : pass.Split(piece.Text));
        }

        return pieces;
    }

    private sealed class Pass
    {
        private readonly Dictionary<char, AddedToken[]> _byFirst;
        private readonly SearchValues<char> _first;

        public Pass(IEnumerable<AddedToken> tokens)
        {
            _byFirst = tokens
                .GroupBy(t => t.Content[0])
                .ToDictionary(group => group.Key, group => group.OrderByDescending(t => t.Content.Length).ToArray());
            _first = SearchValues.Create([.. _byFirst.Keys]);
        }

        public IEnumerable<(string? Text, int Id)> Split(string text)
        {
            int done = 0;
            for (int at = 0; (at = Find(text, at, out var token)) >= 0;)
            {
                int start = at;
                int end = at + token!.Content.Length;
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
                    yield return (text[done..start], -1);
                }

                yield return (null, token.Id);
                done = at = end;
            }

            if (done < text.Length)
            {
                yield return (done == 0 ? text : text[done..], -1);
            }
        }

        private int Find(string text, int from, out AddedToken? found)
        {
            for (int at = from; at < text.Length; at++)
            {
                int next = text.AsSpan(at).IndexOfAny(_first);
                if (next < 0)
                {
                    break;
                }

                at += next;
                foreach (var token in _byFirst[text[at]])
                {
                    if (text.AsSpan(at).StartsWith(token.Content, StringComparison.Ordinal))
                    {
                        found = token;
                        return at;
                    }
                }
            }

            found = null;
            return -1;
        }
    }
}
