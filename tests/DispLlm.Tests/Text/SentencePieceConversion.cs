using System.Text.Json.Nodes;

namespace DispLlm.Tests.Text;

/// <summary>A SentencePiece model as tokenizer.json, as transformers converts it.</summary>
internal static class SentencePieceConversion
{
    public static string ToTokenizerJson(IReadOnlyList<(string Text, float Score, PieceKind Kind)> pieces)
    {
        var ids = pieces.Select((piece, id) => (piece.Text, id)).ToDictionary(entry => entry.Text, entry => entry.id);
        var merges = from piece in pieces
                     where piece.Kind == PieceKind.Normal
                     from cut in Enumerable.Range(1, piece.Text.Length - 1)
                     let left = piece.Text[..cut]
                     let right = piece.Text[cut..]
                     where ids.ContainsKey(left) && ids.ContainsKey(right)
                     orderby piece.Score descending, left.Length descending, right.Length descending
                     select new JsonArray(left, right);
        var special = pieces.Select((piece, id) => (piece, id)).Where(entry => entry.piece.Kind is PieceKind.Control or PieceKind.Unknown);
        var json = JsonNode.Parse("""
            {"version":"1.0","truncation":null,"padding":null,
             "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
             "pre_tokenizer":null,"decoder":null,
             "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
              "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
             "model":{"type":"BPE","dropout":null,"unk_token":"<unk>","continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true}}
            """)!;
        json["model"]!["vocab"] = new JsonObject(ids.Select(entry => KeyValuePair.Create(entry.Key, (JsonNode?)entry.Value)));
        json["model"]!["merges"] = new JsonArray([.. merges]);
        json["added_tokens"] = new JsonArray([.. special.Select(entry => new JsonObject
        {
            ["id"] = entry.id,
            ["content"] = entry.piece.Text,
            ["single_word"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["normalized"] = false,
            ["special"] = true,
        })]);
        return json.ToJsonString();
    }
}
