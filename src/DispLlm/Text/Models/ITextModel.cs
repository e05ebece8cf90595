namespace DispLlm;

/// <summary>Turns one word into ids. Implementations are thread-safe.</summary>
internal interface ITextModel
{
    /// <summary>The vocabulary, added tokens left out.</summary>
    IReadOnlyDictionary<string, int> Vocabulary { get; }

    /// <summary>Appends the ids of a word, which is not empty.</summary>
    void Encode(string word, List<int> ids);
}
