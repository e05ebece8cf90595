namespace DispLlm.Export;

/// <summary>Byte pair encoding of bytes, as GPT-2 has it: llama.cpp's <c>gpt2</c>.</summary>
internal static class GgufByteLevelTokenizer
{
    /// <summary>Describes the vocabulary, its merges, and how text is split into words.</summary>
    public static IEnumerable<GgufValue> Describe(
        TokenizerPipeline pipeline, BpeModel model, TokenizerSettings settings, int rows, ICollection<string> notes)
    {
        var (split, merges) = Path.GetExtension(pipeline.Path) == ".txt"
            ? (ReadSplit(settings), TokenizerJson.ReadMerges(pipeline.Path))
            : ReadFile(pipeline, model, notes);
        var tokens = new GgufTokenRows(rows);
        foreach (var (text, id) in model.Vocabulary)
        {
            tokens.Set(id, text, PieceKind.Normal);
        }

        tokens.SetAdded(pipeline.AddedTokens, notes);
        return
        [
            new("tokenizer.ggml.model", "gpt2"),
            new("tokenizer.ggml.pre", split),
            .. tokens.Describe(withScores: false),

            // Bytes are written without spaces, so a pair with one never comes up, and llama.cpp would read it as another pair.
            new("tokenizer.ggml.merges", merges
                .Where(merge => !merge.Left.Contains(' ') && !merge.Right.Contains(' '))
                .Select(merge => $"{merge.Left} {merge.Right}").ToArray()),
        ];
    }

    private static string ReadSplit(TokenizerSettings settings) => !settings.AddsPrefixSpace
        ? GgufTextSplits.Default
        : throw new ExportException("gguf", "add_prefix_space",
            "tokenizer_config.json: add_prefix_space is true, and llama.cpp puts no space before a text for this kind of tokenizer. " +
            "Set it to false, and begin texts with a space.");

    private static (string Split, IReadOnlyList<(string Left, string Right)> Merges) ReadFile(
        TokenizerPipeline pipeline, BpeModel model, ICollection<string> notes)
    {
        string path = pipeline.Path;
        using var document = JsonFiles.Open(path);
        foreach (var normalizer in GgufTokenizerStages.Normalizers(document.RootElement, path))
        {
            GgufTokenizerStages.NoteOrRefuse(normalizer, notes);
        }

        var part = TokenizerPart.Find(document.RootElement, "model", path)!.Value;
        if (model.Options is { ContinuingPrefix.Length: > 0 } or { EndOfWordSuffix.Length: > 0 })
        {
            throw new ExportException("gguf", "model",
                $"'{path}': the vocabulary marks where words continue or end (continuing_subword_prefix, end_of_word_suffix), which " +
                "llama.cpp does not know.");
        }

        var merges = TokenizerJson.ReadMerges(part);
        var split = GgufTextSplits.Find([.. GgufTokenizerStages.PreTokenizers(document.RootElement, path)], model.Options.IgnoresMerges);
        if (split.Note is { } note)
        {
            notes.Add(note);
        }

        if (split.IgnoresMerges != model.Options.IgnoresMerges && CountUnmerged(pipeline, model, merges) is > 0 and int count)
        {
            notes.Add($"{count} tokens are not what merges make of their text. Of words that are such a token llama.cpp " +
                $"{(split.IgnoresMerges ? "takes the token" : "makes several")}, unlike the tokenizer (ignore_merges).");
        }

        return (split.Name, merges);
    }

    /// <summary>Tokens that merges alone do not build.</summary>
    private static int CountUnmerged(
        TokenizerPipeline pipeline, BpeModel model, IReadOnlyList<(string Left, string Right)> merges)
    {
        var merging = model.Options.IgnoresMerges
            ? new BpeModel(new(model.Vocabulary), merges, model.Options with { IgnoresMerges = false }, pipeline.Path)
            : model;
        HashSet<int> added = [.. pipeline.AddedTokens.Select(token => token.Id)];
        List<int> ids = [];
        return model.Vocabulary.Where(token => !added.Contains(token.Value)).Count(token =>
        {
            ids.Clear();
            merging.Encode(token.Key, ids);
            return ids.Count != 1;
        });
    }
}
