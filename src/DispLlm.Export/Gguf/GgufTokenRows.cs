namespace DispLlm.Export;

/// <summary>The tokens of a vocabulary as GGUF lists them: one for each row of the embedding. Not thread-safe.</summary>
internal sealed class GgufTokenRows
{
    /// <summary>How SentencePiece writes a space.</summary>
    public const char Space = '\u2581';

    private readonly string?[] _texts;
    private readonly int[] _kinds;
    private readonly float[] _scores;

    /// <param name="count">Rows of the embedding.</param>
    public GgufTokenRows(int count) => (_texts, _kinds, _scores) = (new string?[count], new int[count], new float[count]);

    /// <summary>Sets a token of the vocabulary. Kinds have the same numbers in GGUF as in SentencePiece.</summary>
    public void Set(int id, string text, PieceKind kind, float score = 0)
    {
        if (id >= _texts.Length)
        {
            throw new ExportException("gguf", "vocab_size",
                $"Token {id}, '{text}', has no row in the embedding: vocab_size is {_texts.Length}. The tokenizer is another model's.");
        }

        (_texts[id], _kinds[id], _scores[id]) = (text, (int)kind, score);
    }

    /// <summary>Sets tokens that are found in a text before anything else, or changes what tokens of the vocabulary are.</summary>
    /// <param name="tokens">The tokens.</param>
    /// <param name="notes">Takes a sentence on those that the model has no row for, and on those that take spaces along.</param>
    public void SetAdded(IReadOnlyCollection<AddedToken> tokens, ICollection<string> notes)
    {
        foreach (var token in tokens.Where(token => token.Id < _texts.Length))
        {
            // A text has no such spaces: the vocabulary makes this token by itself, and llama.cpp would print it as it stands.
            if (!token.IsSpecial && !token.IsNormalized && token.Content.Contains(Space) && _texts[token.Id] is not null)
            {
                continue;
            }

            // llama.cpp finds tokens in the text as it is, with spaces that no normalizer has changed.
            string text = token.IsSpecial ? token.Content : token.Content.Replace(Space, ' ');
            Set(token.Id, text, token.IsSpecial ? PieceKind.Control : PieceKind.UserDefined, _scores[token.Id]);
        }

        Note(tokens.Where(token => token.Id >= _texts.Length), "have no row in the model's embedding and are left out", notes);
        Note(
            tokens.Where(token => token.StripsLeft || token.StripsRight || token.IsSingleWord),
            "take spaces beside them along, or stand alone, which llama.cpp does not know (lstrip, rstrip, single_word)",
            notes);
    }

    /// <summary>Changes what a token is.</summary>
    public void SetKind(int id, PieceKind kind) => _kinds[id] = (int)kind;

    /// <summary>The keys of the token list. Rows without a token are named and marked as unused.</summary>
    /// <param name="withScores">Whether the tokens have scores.</param>
    public IEnumerable<GgufValue> Describe(bool withScores)
    {
        var ids = new Dictionary<string, int>(_texts.Length);
        var texts = new string[_texts.Length];
        for (int id = 0; id < texts.Length; id++)
        {
            texts[id] = _texts[id] ?? $"[PAD{id}]";
            if (_texts[id] is null)
            {
                _kinds[id] = (int)PieceKind.Unused;
            }

            if (!ids.TryAdd(texts[id], id))
            {
                throw new ExportException("gguf", "tokenizer.ggml.tokens",
                    $"Tokens {ids[texts[id]]} and {id} are both '{texts[id]}', which llama.cpp refuses. " +
                    "Rename one in the tokenizer's files.");
            }
        }

        yield return new("tokenizer.ggml.tokens", texts);
        yield return new("tokenizer.ggml.token_type", _kinds);
        if (withScores)
        {
            yield return new("tokenizer.ggml.scores", _scores);
        }
    }

    private static void Note(IEnumerable<AddedToken> tokens, string what, ICollection<string> notes)
    {
        string[] names = [.. tokens.Select(token => $"'{token.Content}'")];
        if (names.Length > 0)
        {
            notes.Add($"{names.Length} added tokens ({string.Join(", ", names.Take(3))}{(names.Length > 3 ? ", .." : "")}) {what}.");
        }
    }
}
