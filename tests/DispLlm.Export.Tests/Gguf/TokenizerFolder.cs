using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;

namespace DispLlm.Tests;

/// <summary>Makes tokenizer files for tests.</summary>
internal static class TokenizerFolder
{
    private static readonly JsonSerializerOptions s_plain = new() { Encoder = JavaScriptEncoder.Create(UnicodeRanges.All) };

    /// <summary>The folder itself, with a tokenizer.json.</summary>
    public static string Write(TemporaryFolder folder, JsonNode tokenizer)
    {
        string path = folder.Below(Guid.NewGuid().ToString("N"));
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, "tokenizer.json"), tokenizer.ToJsonString(s_plain));
        return path;
    }

    /// <summary>A tokenizer of bytes: a token for each, a few merges, and a token that ends a text.</summary>
    public static JsonObject Bytes()
    {
        var vocabulary = new JsonObject();
        foreach (char character in ByteAlphabet.Characters)
        {
            vocabulary[character.ToString()] = vocabulary.Count;
        }

        string[] merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "Ċ Ċ"];
        foreach (string merge in merges)
        {
            vocabulary[merge.Replace(" ", "", StringComparison.Ordinal)] = vocabulary.Count;
        }

        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(Added("<|end|>", vocabulary.Count, isSpecial: true)),
            ["pre_tokenizer"] = Stage("""{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}"""),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray([.. merges.Select(merge => (JsonNode)merge)]),
            },
        };
    }

    /// <summary>
    /// A tokenizer that merges any two bytes that stand side by side in the texts, in an order of its own. Wherever words are split
    /// otherwise, bytes that were one token no longer are: no vocabulary of words shows as much.
    /// </summary>
    /// <param name="texts">The texts.</param>
    /// <param name="seed">Chooses the order.</param>
    public static JsonObject Pairs(IEnumerable<string> texts, int seed)
    {
        var tokenizer = Bytes();
        string[] pairs =
        [
            .. texts.Select(ByteAlphabet.Write)
                .SelectMany(bytes => Enumerable.Range(0, bytes.Length - 1).Select(at => bytes.Substring(at, 2))).Distinct(),
        ];
        new Random(seed).Shuffle(pairs);
        var vocabulary = new JsonObject();
        foreach (string token in ByteAlphabet.Characters.ToArray().Select(value => value.ToString()).Concat(pairs))
        {
            vocabulary[token] = vocabulary.Count;
        }

        tokenizer.Remove("added_tokens");
        tokenizer["model"]!["vocab"] = vocabulary;
        tokenizer["model"]!["merges"] = new JsonArray([.. pairs.Select(pair => (JsonNode)$"{pair[0]} {pair[1]}")]);
        return tokenizer;
    }

    /// <summary>A unigram tokenizer with the given pieces, of which the first is the unknown one.</summary>
    public static JsonObject Unigram(IEnumerable<(string Piece, double Score)> pieces) => new()
    {
        ["pre_tokenizer"] = Stage("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}"""),
        ["model"] = new JsonObject
        {
            ["type"] = "Unigram",
            ["unk_id"] = 0,
            ["vocab"] = new JsonArray([.. pieces.Select(piece => (JsonNode)new JsonArray(piece.Piece, piece.Score))]),
        },
    };

    /// <summary>A stage of tokenizer.json.</summary>
    public static JsonNode? Stage(string json) => JsonNode.Parse(json);

    /// <summary>An entry of added_tokens.</summary>
    public static JsonObject Added(string text, int id, bool isSpecial) => new()
    {
        ["id"] = id,
        ["content"] = text,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = isSpecial,
    };
}
