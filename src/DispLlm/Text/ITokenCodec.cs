namespace DispLlm;

/// <summary>The part of a tokenizer that encodes text: one implementation per kind of file. Implementations are thread-safe.</summary>
internal interface ITokenCodec
{
    /// <summary>The bytes of every token's text, by id; <see langword="null"/> where an id has none.</summary>
    IReadOnlyList<byte[]?> TokenBytes { get; }

    /// <summary>Whether this kind of file adds a beginning-of-text token, where no configuration says otherwise.</summary>
    bool AddsBeginOfTextByDefault { get; }

    /// <summary>Whether decoding drops the one space that encoding put before the text.</summary>
    bool DropsFirstSpace { get; }

    /// <summary>The beginning-of-text id that the vocabulary file itself names, if it does.</summary>
    int? BeginOfTextId { get; }

    /// <summary>The end-of-text id that the vocabulary file itself names, if it does.</summary>
    int? EndOfTextId { get; }

    /// <summary>The id of a token by its name in the vocabulary, special tokens included.</summary>
    int? FindId(string token);

    /// <summary>Appends the ids of a text to <paramref name="ids"/>.</summary>
    /// <param name="text">Text without lone surrogates, not empty.</param>
    /// <param name="ids">Where the ids go.</param>
    void Encode(string text, List<int> ids);
}
