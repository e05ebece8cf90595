namespace DispLlm;

/// <summary>
/// Decodes what continues a prompt. Some tokenizers drop the space that opens a text, so a continuation is decoded with its prompt, whose
/// text is then taken away. Immutable and thread-safe.
/// </summary>
internal sealed class ContinuationDecoder
{
    private readonly TextTokenizer _tokenizer;
    private readonly IReadOnlyList<int> _textIds;
    private readonly string _text;

    public ContinuationDecoder(TextTokenizer tokenizer, string prompt)
    {
        _tokenizer = tokenizer;
        _textIds = tokenizer.Encode(prompt);
        _text = tokenizer.Decode(_textIds);
        PromptIds = tokenizer is { AddBosToken: true, BosTokenId: { } begin } ? [begin, .. _textIds] : _textIds;
    }

    /// <summary>The ids of the prompt, after the token that opens a text where the model expects one.</summary>
    public IReadOnlyList<int> PromptIds { get; }

    /// <summary>The text of new ids.</summary>
    public string Decode(IReadOnlyList<int> ids)
    {
        string all = _tokenizer.Decode([.. _textIds, .. ids]);
        return all.StartsWith(_text, StringComparison.Ordinal) ? all[_text.Length..] : _tokenizer.Decode(ids);
    }
}
