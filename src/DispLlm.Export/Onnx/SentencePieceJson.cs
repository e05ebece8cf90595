using System.Text.Json.Nodes;

namespace DispLlm.Export;

/// <summary>
/// A SentencePiece model as <c>tokenizer.json</c>, which ONNX Runtime GenAI reads, as transformers converts it: a merge for every way to
/// put a piece together of two, best pieces first. Thread-safe.
/// </summary>
internal static class SentencePieceJson
{
    public const string SourceName = "tokenizer.model";
    public const string Name = "tokenizer.json";

    private const string Space = "\u2581";

    /// <summary>Whether a checkpoint has a SentencePiece model and no tokenizer.json.</summary>
    public static bool IsNeeded(CheckpointFolder folder)
    {
        var names = folder.TokenizerFiles.Select(Path.GetFileName).ToHashSet();
        return names.Contains(SourceName) && !names.Contains(Name);
    }

    /// <summary>The file's content.</summary>
    /// <param name="model">The model.</param>
    /// <param name="addsBeginOfText">Whether a text begins with the model's token for that.</param>
    public static JsonObject Create(SentencePieceModel model, bool addsBeginOfText)
    {
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < model.Pieces.Count; id++)
        {
            ids.TryAdd(model.Pieces[id].Text, id);
        }

        return new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = AddedTokens(model),
            ["normalizer"] = Sequence("normalizers", model.AddDummyPrefix ? [Prepend(Space), Replace(" ", Space)] : [Replace(" ", Space)]),
            ["pre_tokenizer"] = null,
            ["post_processor"] = addsBeginOfText ? Template(model.Pieces[model.BeginOfTextId].Text, model.BeginOfTextId) : null,
            ["decoder"] = Sequence("decoders", [
                Replace(Space, " "), new JsonObject { ["type"] = "ByteFallback" }, new JsonObject { ["type"] = "Fuse" },
                new JsonObject { ["type"] = "Strip", ["content"] = " ", ["start"] = model.AddDummyPrefix ? 1 : 0, ["stop"] = 0 },
            ]),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["unk_token"] = model.Pieces[model.UnknownId].Text,
                ["fuse_unk"] = true,
                ["byte_fallback"] = model.ByteFallback,
                ["vocab"] = new JsonObject(ids.Select(entry => KeyValuePair.Create(entry.Key, (JsonNode?)entry.Value))),
                ["merges"] = new JsonArray([.. Merges(model, ids).Select(merge => (JsonNode)merge)]),
            },
        };
    }

    private static JsonArray AddedTokens(SentencePieceModel model) => new([.. model.Pieces
        .Select((piece, id) => (piece, id))
        .Where(entry => entry.piece.Kind is PieceKind.Unknown or PieceKind.Control or PieceKind.UserDefined)
        .Select(entry => new JsonObject
        {
            ["id"] = entry.id,
            ["content"] = entry.piece.Text,
            ["single_word"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["normalized"] = false,
            ["special"] = entry.piece.Kind != PieceKind.UserDefined,
        })]);

    private static IEnumerable<string> Merges(SentencePieceModel model, Dictionary<string, int> ids) => model.Pieces
        .Select((piece, id) => (piece, id))
        .Where(entry => entry.piece.Kind == PieceKind.Normal)
        .OrderByDescending(entry => entry.piece.Score).ThenBy(entry => entry.id)
        .SelectMany(entry => Enumerable.Range(1, Math.Max(0, entry.piece.Text.Length - 1))
            .Select(at => (Left: entry.piece.Text[..at], Right: entry.piece.Text[at..]))
            .Where(pair => ids.ContainsKey(pair.Left) && ids.ContainsKey(pair.Right))
            .OrderBy(pair => ids[pair.Left]).ThenBy(pair => ids[pair.Right])
            .Select(pair => $"{pair.Left} {pair.Right}"));

    private static JsonObject Sequence(string key, JsonObject[] steps) =>
        new() { ["type"] = "Sequence", [key] = new JsonArray([.. steps]) };

    private static JsonObject Prepend(string text) => new() { ["type"] = "Prepend", ["prepend"] = text };

    private static JsonObject Replace(string pattern, string content) =>
        new() { ["type"] = "Replace", ["pattern"] = new JsonObject { ["String"] = pattern }, ["content"] = content };

    private static JsonObject Template(string token, int id)
    {
        JsonObject Special() => new() { ["SpecialToken"] = new JsonObject { ["id"] = token, ["type_id"] = 0 } };
        JsonObject Text(string name, int type) => new() { ["Sequence"] = new JsonObject { ["id"] = name, ["type_id"] = type } };
        return new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray(Special(), Text("A", 0)),
            ["pair"] = new JsonArray(Special(), Text("A", 0), Special(), Text("B", 1)),
            ["special_tokens"] = new JsonObject
            {
                [token] = new JsonObject { ["id"] = token, ["ids"] = new JsonArray(id), ["tokens"] = new JsonArray(token) },
            },
        };
    }
}
