using System.Text.Json;

namespace DispLlm.Export;

/// <summary>
/// Byte pair encoding of characters, with a token for each byte that no character covers, as SentencePiece has it: llama.cpp's
/// <c>llama</c>. It merges the two neighbours whose token has the highest score.
/// </summary>
internal static class GgufPieceTokenizer
{
    private const string Space = "\u2581";
    private const string AfterSpecialToken =
        "llama.cpp puts a space before what follows a special token, the tokenizer before the beginning of a text only.";

    /// <summary>Describes a <c>tokenizer.model</c>.</summary>
    public static IEnumerable<GgufValue> Describe(SentencePieceCodec codec, int rows, ICollection<string> notes)
    {
        var model = codec.Model;
        if (!model.ByteFallback)
        {
            throw NoBytes(model.FilePath);
        }

        var tokens = new GgufTokenRows(rows);
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            var (text, score, kind) = model.Pieces[id];
            tokens.Set(id, kind == PieceKind.UserDefined ? text.Replace(Space, " ", StringComparison.Ordinal) : text, kind, score);
        }

        tokens.SetAdded(codec.AddedTokens, notes);
        tokens.SetKind(model.UnknownId, PieceKind.Unknown);
        if (model.AddDummyPrefix && codec.PrefixesOnce)
        {
            notes.Add(AfterSpecialToken);
        }

        return Describe(tokens, model.AddDummyPrefix);
    }

    /// <summary>Describes a <c>tokenizer.json</c>. What merges first there has the higher score here.</summary>
    public static IEnumerable<GgufValue> Describe(TokenizerPipeline pipeline, BpeModel model, int rows, ICollection<string> notes)
    {
        using var document = JsonFiles.Open(pipeline.Path);
        var root = document.RootElement;
        bool hasBytes = model.Options.ByteFallback
            && Enumerable.Range(0, 256).All(value => model.Vocabulary.ContainsKey(ByteToken(value)));
        if (!TryReadSpaces(root, pipeline.Path, notes, out var scheme) || !hasBytes)
        {
            throw NoBytes(pipeline.Path);
        }

        var merges = TokenizerJson.ReadMerges(TokenizerPart.Find(root, "model", pipeline.Path)!.Value);
        NotePrefix(scheme, notes);
        NoteMerges(pipeline, merges, notes);
        return Describe(ReadTokens(pipeline, model, merges, rows, notes), scheme != MetaspaceScheme.Never);
    }

    /// <summary>Whether spaces are written as SentencePiece writes them, by a normalizer or by a pre-tokenizer.</summary>
    /// <param name="root">The file.</param>
    /// <param name="path">Its path.</param>
    /// <param name="notes">Takes notes.</param>
    /// <param name="scheme">Where a space is put before a text; null where it is as llama.cpp does it.</param>
    private static bool TryReadSpaces(JsonElement root, string path, ICollection<string> notes, out MetaspaceScheme? scheme)
    {
        bool writesSpaces = false;
        scheme = MetaspaceScheme.Never;
        foreach (var step in GgufTokenizerStages.Normalizers(root, path))
        {
            if (step.Type == "Prepend" && step.Text("prepend") == Space)
            {
                scheme = null;
            }
            else if (step.Type == "Replace" && step.Text("content") == Space && Literal(step) == " ")
            {
                writesSpaces = true;
            }
            else
            {
                GgufTokenizerStages.NoteOrRefuse(step, notes);
            }
        }

        foreach (var step in GgufTokenizerStages.PreTokenizers(root, path))
        {
            if (step.Type == "Metaspace" && step.Text("replacement") == Space && scheme is not null)
            {
                scheme = Metaspace.ReadScheme(step);
                writesSpaces = true;
            }
            else if (step.Type != "Split" || Literal(step) != " " || !writesSpaces)
            {
                // Splitting at spaces does nothing where none are left.
                throw GgufTokenizerStages.Refuse(step, "pre_tokenizer");
            }
        }

        return writesSpaces;
    }

    private static GgufTokenRows ReadTokens(
        TokenizerPipeline pipeline, BpeModel model, IReadOnlyList<(string Left, string Right)> merges, int rows, ICollection<string> notes)
    {
        var ranks = new Dictionary<string, int>(merges.Count);
        for (int rank = 0; rank < merges.Count; rank++)
        {
            ranks.TryAdd(merges[rank].Left + merges[rank].Right, rank);
        }

        var tokens = new GgufTokenRows(rows);
        foreach (var (text, id) in model.Vocabulary)
        {
            tokens.Set(id, text, PieceKind.Normal, -ranks.GetValueOrDefault(text, merges.Count));
        }

        tokens.SetAdded(pipeline.AddedTokens, notes);
        for (int value = 0; value < 256; value++)
        {
            tokens.SetKind(model.Vocabulary[ByteToken(value)], PieceKind.Byte);
        }

        if (model.Options.UnknownToken is { } unknown && model.Vocabulary.TryGetValue(unknown, out int unknownId))
        {
            tokens.SetKind(unknownId, PieceKind.Unknown);
        }

        return tokens;
    }

    private static IEnumerable<GgufValue> Describe(GgufTokenRows tokens, bool addsPrefix) =>
    [
        new("tokenizer.ggml.model", "llama"),
        new("tokenizer.ggml.pre", "default"),
        .. tokens.Describe(withScores: true),
        new("tokenizer.ggml.add_space_prefix", addsPrefix),
    ];

    /// <summary>llama.cpp puts a space before a text and each part after a special token, whatever they begin with, or never.</summary>
    private static void NotePrefix(MetaspaceScheme? scheme, ICollection<string> notes)
    {
        if (scheme == MetaspaceScheme.First)
        {
            notes.Add(AfterSpecialToken);
        }

        if (scheme is MetaspaceScheme.First or MetaspaceScheme.Always)
        {
            notes.Add("llama.cpp puts a space also before a text that begins with one, the tokenizer does not.");
        }
    }

    /// <summary>
    /// llama.cpp merges any two neighbours that make a token, in whatever way: so does a file that was converted from SentencePiece, which
    /// lists all ways. One that was trained lists one.
    /// </summary>
    private static void NoteMerges(
        TokenizerPipeline pipeline, IReadOnlyList<(string Left, string Right)> merges, ICollection<string> notes)
    {
        HashSet<(string, string)> listed = [.. merges];
        HashSet<string> built = [.. merges.Select(merge => merge.Left + merge.Right)];
        HashSet<string> added = [.. pipeline.AddedTokens.Select(token => token.Content)];
        int count = built.Where(text => !added.Contains(text)).Sum(text => Enumerable.Range(1, text.Length - 1)
            .Count(at => Exists(text[..at]) && Exists(text[at..]) && !listed.Contains((text[..at], text[at..]))));
        if (count > 0)
        {
            notes.Add("llama.cpp merges any two neighbours that make a token, tokenizer.json those that it lists: of the ways to make " +
                $"one it lacks {count}, so that a few words may be cut otherwise in llama.cpp.");
        }

        bool Exists(string text) => built.Contains(text)
            || (text.Length <= 2 && text.EnumerateRunes().Count() == 1 && pipeline.Model.Vocabulary.ContainsKey(text));
    }

    private static string? Literal(TokenizerPart part) =>
        TokenizerPart.Find(part.Value, "pattern", part.Path) is { } pattern && JsonFiles.Optional(pattern.Value, "String") is not null
            ? pattern.Text("String")
            : null;

    private static string ByteToken(int value) => FormattableString.Invariant($"<0x{value:X2}>");

    private static ExportException NoBytes(string path) => new("gguf", "byte_fallback",
        $"'{path}': the vocabulary is neither one of bytes nor has it a token for each byte, <0x00> to <0xFF>, without which llama.cpp " +
        $"fails on characters that it does not know. {GgufTokenizerStages.WithoutTokenizer}");
}
