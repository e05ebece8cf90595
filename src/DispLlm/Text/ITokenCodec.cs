namespace DispLlm;

/// <summary>The part of a tokenizer that encodes and decodes, for one kind of file. Implementations are thread-safe.</summary>
internal interface ITokenCodec
{
    /// <summary>One more than the highest id.</summary>
    int VocabularySize { get; }

    /// <summary>The tokens that the file itself puts around a text.</summary>
    TokenTemplate Template { get; }

    /// <summary>The beginning-of-text id that the vocabulary file itself names, if it does.</summary>
    int? BeginOfTextId { get; }

    /// <summary>The end-of-text id that the vocabulary file itself names, if it does.</summary>
    int? EndOfTextId { get; }

    /// <summary>The id of a token by its name in the vocabulary, special tokens included.</summary>
    int? FindId(string token);

    /// <summary>The name of a token in the vocabulary; <see langword="null"/> where an id has none.</summary>
    string? FindToken(int id);

    /// <summary>Appends the ids of a text to <paramref name="ids"/>.</summary>
    /// <param name="text">Text without lone surrogates, not empty.</param>
    /// <param name="ids">Where the ids go.</param>
    void Encode(string text, List<int> ids);

    /// <summary>The text of ids; an id without a token is U+FFFD.</summary>
    /// <param name="ids">Ids from 0 on.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    string Decode(IReadOnlyList<int> ids, bool skipSpecialTokens);
}
