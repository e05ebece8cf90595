namespace DispLlm.Export;

/// <summary>SentencePiece's unigram model: llama.cpp's <c>t5</c>, which finds the pieces whose scores add up to the most.</summary>
internal static class GgufUnigramTokenizer
{
    private const string Space = "\u2581";

    /// <summary>Describes the pieces and how spaces are written.</summary>
    public static IEnumerable<GgufValue> Describe(
        TokenizerPipeline pipeline, UnigramModel model, int rows, ICollection<string> notes)
    {
        using var document = JsonFiles.Open(pipeline.Path);
        foreach (var step in GgufTokenizerStages.Normalizers(document.RootElement, pipeline.Path))
        {
            GgufTokenizerStages.NoteOrRefuse(step, notes);
        }

        TokenizerPart[] steps = [.. GgufTokenizerStages.PreTokenizers(document.RootElement, pipeline.Path)];
        if (steps is not [{ Type: "Metaspace" } spaces] || spaces.Text("replacement") != Space)
        {
            throw steps.Length > 0
                ? GgufTokenizerStages.Refuse(steps.FirstOrDefault(step => step.Type != "Metaspace", steps[0]), "pre_tokenizer")
                : new ExportException("gguf", "pre_tokenizer",
                    $"'{pipeline.Path}': a unigram tokenizer without Metaspace as its pre_tokenizer is not one that llama.cpp has.");
        }

        if (model.UnknownId is not { } unknown)
        {
            throw new ExportException("gguf", "unk_id", $"'{pipeline.Path}': model.unk_id names no token, and llama.cpp needs one.");
        }

        var tokens = new GgufTokenRows(rows);
        foreach (var (text, id) in model.Vocabulary)
        {
            tokens.Set(id, text, PieceKind.Normal, (float)model.Scores[id]);
        }

        tokens.SetAdded(pipeline.AddedTokens, notes);
        tokens.SetKind(unknown, PieceKind.Unknown);
        NoteDifferences(spaces, model, notes);
        return
        [
            new("tokenizer.ggml.model", "t5"),
            new("tokenizer.ggml.pre", "default"),
            .. tokens.Describe(withScores: true),
            new("tokenizer.ggml.add_space_prefix", Metaspace.ReadScheme(spaces) != MetaspaceScheme.Never),
            new("tokenizer.ggml.remove_extra_whitespaces", false),
        ];
    }

    private static void NoteDifferences(TokenizerPart spaces, UnigramModel model, ICollection<string> notes)
    {
        if (Metaspace.ReadScheme(spaces) != MetaspaceScheme.Never)
        {
            notes.Add("llama.cpp puts its space before the first word of every part between special tokens, also where the text has one.");
        }

        if (model.ByteFallback)
        {
            notes.Add("llama.cpp has one unknown token for characters that the vocabulary lacks, the tokenizer a token for each byte.");
        }

        if (spaces.Boolean("split", true) && model.Vocabulary.Keys.Any(text => text.IndexOf(Space, 1, StringComparison.Ordinal) > 0))
        {
            notes.Add("Some tokens hold a space after their first character; llama.cpp uses them across words, the tokenizer does not.");
        }
    }
}
