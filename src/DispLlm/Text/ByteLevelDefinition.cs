using System.Text.Json;

namespace DispLlm;

/// <summary>A byte-level BPE tokenizer as its files describe it, checked key by key.</summary>
internal sealed record ByteLevelDefinition(
    string Path,
    IReadOnlyDictionary<string, int> Vocabulary,
    IReadOnlyList<string> Merges,
    IReadOnlyList<AddedToken> AddedTokens,
    PreTokenization PreTokenization)
{
    /// <summary>Whether a word that is a token is taken whole, even where merges would not build it (LLaMA 3).</summary>
    public bool IgnoresMerges { get; init; }

    /// <summary>The token of a byte that the vocabulary does not have, if there is one.</summary>
    public string? UnknownToken { get; init; }

    /// <summary>Whether adjacent unknown bytes are one unknown token.</summary>
    public bool FusesUnknown { get; init; }

    /// <summary>The token that the post-processor puts before a text, if it does.</summary>
    public string? FirstToken { get; init; }

    /// <summary>Reads tokenizer.json.</summary>
    public static ByteLevelDefinition ReadTokenizerJson(string path)
    {
        using var document = JsonFiles.Open(path);
        var root = document.RootElement;
        if (JsonFiles.Optional(root, "normalizer") is { } normalizer)
        {
            throw JsonFiles.Unsupported(path, "normalizer", normalizer.GetRawText());
        }

        if (JsonFiles.Optional(root, "model") is not { ValueKind: JsonValueKind.Object } model)
        {
            throw new TokenizerException($"'{path}': the key model is missing.");
        }

        CheckModel(model, path);
        var vocabulary = ReadVocabulary(JsonFiles.Optional(model, "vocab"), path, "model.vocab");
        return new ByteLevelDefinition(
            path,
            vocabulary,
            ReadMerges(JsonFiles.Optional(model, "merges"), path),
            [.. ReadAddedTokens(root, path)],
            PreTokenization.Read(JsonFiles.Optional(root, "pre_tokenizer"), path))
        {
            IgnoresMerges = JsonFiles.Boolean(model, "ignore_merges", false, path),
            UnknownToken = JsonFiles.Optional(model, "unk_token") is null ? null : JsonFiles.Text(model, "unk_token", path),
            FusesUnknown = JsonFiles.Boolean(model, "fuse_unk", false, path),
            FirstToken = ReadFirstToken(JsonFiles.Optional(root, "post_processor")),
        };
    }

    /// <summary>Reads GPT-2's two files, with the added tokens that the files beside them name.</summary>
    public static ByteLevelDefinition ReadVocabularyAndMerges(string vocabularyPath, string mergesPath, TokenizerSettings settings)
    {
        using var document = JsonFiles.Open(vocabularyPath);
        var vocabulary = ReadVocabulary(document.RootElement, vocabularyPath, "the vocabulary");
        var added = settings.AddedTokens.ToDictionary(t => t.Content);
        foreach (string special in settings.SpecialNames)
        {
            if (vocabulary.TryGetValue(special, out int id))
            {
                added.TryAdd(special, new AddedToken(special, id));
            }
        }

        // "#version" is the file's own first line, not a merge.
        var merges = File.ReadLines(mergesPath).Where(line => line.Length > 0 && !line.StartsWith("#version", StringComparison.Ordinal));
        return new ByteLevelDefinition(
            mergesPath, vocabulary, [.. merges], [.. added.Values], PreTokenization.ByteLevel(settings.AddsPrefixSpace));
    }

    private static void CheckModel(JsonElement model, string path)
    {
        string type = model.TryGetProperty("type", out var kind) ? kind.GetString() ?? "null" : "BPE";
        if (type != "BPE")
        {
            throw JsonFiles.Unsupported(path, "model.type", type);
        }

        foreach (string key in (string[])["dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"])
        {
            // Empty, false and null mean the same.
            if (JsonFiles.Optional(model, key) is { } value && value.GetRawText() is not ("false" or "\"\"" or "0" or "0.0"))
            {
                throw JsonFiles.Unsupported(path, $"model.{key}", value.GetRawText());
            }
        }
    }

    private static Dictionary<string, int> ReadVocabulary(JsonElement? element, string path, string key)
    {
        if (element is not { ValueKind: JsonValueKind.Object } tokens)
        {
            throw new TokenizerException($"'{path}': {key} is missing.");
        }

        var vocabulary = new Dictionary<string, int>();
        foreach (var token in tokens.EnumerateObject())
        {
            vocabulary[token.Name] = JsonFiles.Integer(token.Value, path, $"{key} '{token.Name}'");
        }

        return vocabulary;
    }

    private static List<string> ReadMerges(JsonElement? element, string path)
    {
        var merges = new List<string>();
        if (element is not { ValueKind: JsonValueKind.Array } list)
        {
            throw new TokenizerException($"'{path}': model.merges is missing.");
        }

        foreach (var merge in list.EnumerateArray())
        {
            // "a b" in older files, ["a", "b"] in newer ones; a byte-level token never contains a space.
            merges.Add(merge.ValueKind switch
            {
                JsonValueKind.String => merge.GetString()!,
                JsonValueKind.Array when merge.GetArrayLength() == 2 => $"{merge[0].GetString()} {merge[1].GetString()}",
                _ => throw JsonFiles.Unsupported(path, $"model.merges[{merges.Count}]", merge.GetRawText()),
            });
        }

        return merges;
    }

    private static IEnumerable<AddedToken> ReadAddedTokens(JsonElement root, string path)
    {
        if (JsonFiles.Optional(root, "added_tokens") is { ValueKind: JsonValueKind.Array } tokens)
        {
            foreach (var token in tokens.EnumerateArray())
            {
                if (!token.TryGetProperty("id", out var id))
                {
                    throw new TokenizerException($"'{path}': an entry of added_tokens has no id.");
                }

                yield return AddedToken.Read(token, JsonFiles.Integer(id, path, "added_tokens.id"), path);
            }
        }
    }

    /// <summary>The post-processor only adds special tokens, which encoding leaves out: it only tells whether one comes first.</summary>
    private static string? ReadFirstToken(JsonElement? element)
    {
        if (element is not { ValueKind: JsonValueKind.Object } processor || !processor.TryGetProperty("type", out var type))
        {
            return null;
        }

        if (type.ValueEquals("Sequence") && processor.TryGetProperty("processors", out var parts))
        {
            return parts.EnumerateArray().Select(part => ReadFirstToken(part)).FirstOrDefault(first => first is not null);
        }

        return type.ValueEquals("TemplateProcessing") && processor.TryGetProperty("single", out var single) && single.GetArrayLength() > 0
            && single[0].TryGetProperty("SpecialToken", out var special) && special.TryGetProperty("id", out var name)
                ? name.GetString()
                : null;
    }
}
