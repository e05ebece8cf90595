namespace DispLlm.Tool;

/// <summary>A model to evaluate.</summary>
/// <param name="Folder">Its folder, as on the command line.</param>
/// <param name="Model">The model.</param>
/// <param name="Tokenizer">The tokenizer that reads for it: its own, or that of the first model where its folder has none.</param>
internal sealed record EvaluatedModel(string Folder, PrunableModel Model, TextTokenizer? Tokenizer)
{
    /// <summary>The text as it reads it; null where nothing is measured on text.</summary>
    public TokenizedText? Text { get; init; }
}

/// <summary>The models to compare, the first one being the baseline.</summary>
internal sealed record EvaluationInput(IReadOnlyList<EvaluatedModel> Models, int WindowLength)
{
    /// <summary>Windows from the start of the text; null for all.</summary>
    public int? MaxWindows { get; init; }

    public PerplexityOptions PerplexityOptions => new() { WindowLength = WindowLength, MaxWindows = MaxWindows };

    /// <summary>Whether an id is the same text for all models: otherwise figures per token do not compare.</summary>
    public bool ShareVocabulary => Models.Skip(1).All(model =>
        model.Tokenizer is null || Models[0].Tokenizer is not { } first || Vocabularies.AreSame(model.Tokenizer, first));
}
