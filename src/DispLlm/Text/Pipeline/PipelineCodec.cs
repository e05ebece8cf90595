namespace DispLlm;

/// <summary>The stages of a tokenizer.json. An immutable value.</summary>
internal sealed record TokenizerPipeline(ITextModel Model, string Path)
{
    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    public required TextNormalizer Normalizer { get; init; }

    public required PreTokenizer PreTokenizer { get; init; }

    public required TokenDecoder Decoder { get; init; }

    public TokenTemplate Template { get; init; } = TokenTemplate.None;
}

/// <summary>
/// Encodes as tokenizer.json says, stage by stage: added tokens, normalizer, pre-tokenizer, model. These are Hugging Face's stages,
/// written anew: their library is native code, and its .NET package (Tokenizers.DotNet) comes with a runtime for few platforms, while
/// Microsoft.ML.Tokenizers reads only some kinds, and splits and merges those otherwise than their files ask. The tests compare this code
/// with Hugging Face's string by string. Thread-safe.
/// </summary>
internal sealed class PipelineCodec : ITokenCodec
{
    // Longer words than this hardly ever recur: remembering their ids is not worth the memory.
    private const int LongestRemembered = 64;

    private readonly AddedTokenSplitter _added;
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<int, string> _tokens = [];
    private readonly HashSet<string> _special;

    public PipelineCodec(TokenizerPipeline pipeline)
    {
        Pipeline = pipeline;
        _added = new AddedTokenSplitter(pipeline.AddedTokens, pipeline.Normalizer, pipeline.Path);
        _ids = new Dictionary<string, int>(pipeline.Model.Vocabulary);
        _special = [.. pipeline.AddedTokens.Where(token => token.IsSpecial).Select(token => token.Content)];
        foreach (var (token, id) in pipeline.Model.Vocabulary)
        {
            _tokens[id] = token;
        }

        foreach (var token in pipeline.AddedTokens)
        {
            _ids[token.Content] = token.Id;
            _tokens[token.Id] = token.Content;
        }

        VocabularySize = _tokens.Keys.DefaultIfEmpty(-1).Max() + 1;
    }

    public TokenizerPipeline Pipeline { get; }

    public int VocabularySize { get; }

    public TokenTemplate Template => Pipeline.Template;

    public int? BeginOfTextId => Template.Before.Count > 0 ? Template.Before[0] : null;

    public int? EndOfTextId => null;

    public int? FindId(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    public string? FindToken(int id) => _tokens.GetValueOrDefault(id);

    public void Encode(string text, List<int> ids)
    {
        var known = new Dictionary<string, int[]>();
        foreach (var (piece, id) in _added.Split(text))
        {
            if (id is { } added)
            {
                ids.Add(added);
            }
            else if (piece.Text.Length > 0)
            {
                foreach (var word in Pipeline.PreTokenizer.Split(piece))
                {
                    Encode(word.Text, known, ids);
                }
            }
        }
    }

    public string Decode(IReadOnlyList<int> ids, bool skipSpecialTokens) => Pipeline.Decoder.Decode(
        [.. ids.Select(id => FindToken(id) ?? "\uFFFD").Where(token => !skipSpecialTokens || !_special.Contains(token))]);

    private void Encode(string word, Dictionary<string, int[]> known, List<int> ids)
    {
        if (known.TryGetValue(word, out int[]? found))
        {
            ids.AddRange(found);
            return;
        }

        int start = ids.Count;
        Pipeline.Model.Encode(word, ids);
        if (word.Length <= LongestRemembered)
        {
            known.Add(word, [.. ids.Skip(start)]);
        }
    }
}
