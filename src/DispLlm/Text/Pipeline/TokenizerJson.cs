using System.Text;
using System.Text.Json;

namespace DispLlm;

/// <summary>Reads the files that describe a pipeline, key by key; what is not known is refused.</summary>
internal static class TokenizerJson
{
    /// <summary>Reads tokenizer.json.</summary>
    /// <param name="path">The file.</param>
    /// <param name="settings">What the files beside it say.</param>
    public static PipelineCodec Read(string path, TokenizerSettings settings)
    {
        using var document = JsonFiles.Open(path);
        var root = document.RootElement;
        var description = TokenizerPart.Find(root, "model", path)
            ?? throw new TokenizerException($"'{path}': the key model is missing.");
        var preTokenizer = PreTokenizer.Read(TokenizerPart.Find(root, "pre_tokenizer", path));
        var model = ReadModel(description);
        var decoder = TokenizerPart.Find(root, "decoder", path);
        if (preTokenizer.IsByteLevel)
        {
            CheckBytes(model, path);
        }

        // Tokens of the files beside it that it lacks are added to it, as transformers does.
        var added = ReadAddedTokens(root, path);
        added.AddRange([.. settings.AddedTokens.Where(token => added.All(other => other.Content != token.Content))]);
        foreach (var token in added)
        {
            if (model.Vocabulary.TryGetValue(token.Content, out int id) && id != token.Id)
            {
                throw new TokenizerException(
                    $"'{path}': added token '{token.Content}' has id {token.Id}, but {id} in the vocabulary. Make them agree.");
            }
        }

        return new PipelineCodec(new TokenizerPipeline(model, path)
        {
            AddedTokens = added,
            Normalizer = TextNormalizer.Read(TokenizerPart.Find(root, "normalizer", path)),
            PreTokenizer = preTokenizer,
            Decoder = decoder is null && preTokenizer.IsByteLevel ? TokenDecoder.ByteLevel : TokenDecoder.Read(decoder),
            Template = TokenTemplate.Read(TokenizerPart.Find(root, "post_processor", path), FindId),
        });

        int? FindId(string name) => added.Find(token => token.Content == name)?.Id
            ?? (model.Vocabulary.TryGetValue(name, out int id) ? id : null);
    }

    /// <summary>Reads GPT-2's two files, with the added tokens that the files beside them name.</summary>
    public static PipelineCodec ReadVocabularyAndMerges(string vocabularyPath, string mergesPath, TokenizerSettings settings)
    {
        using var document = JsonFiles.Open(vocabularyPath);
        var vocabulary = ReadVocabulary(document.RootElement, vocabularyPath, "the vocabulary");
        var added = settings.AddedTokens.ToDictionary(token => token.Content);
        foreach (string special in settings.SpecialNames)
        {
            if (vocabulary.TryGetValue(special, out int id))
            {
                added.TryAdd(special, new AddedToken(special, id) { IsSpecial = true });
            }
        }

        var model = new BpeModel(vocabulary, ReadMerges(mergesPath), new BpeOptions(), mergesPath);
        CheckBytes(model, vocabularyPath);
        return new PipelineCodec(new TokenizerPipeline(model, mergesPath)
        {
            AddedTokens = [.. added.Values],
            Normalizer = TextNormalizer.Read(null),
            PreTokenizer = PreTokenizer.ByteLevel(settings.AddsPrefixSpace),
            Decoder = TokenDecoder.ByteLevel,
        });
    }

    /// <summary>The pairs of a model of tokenizer.json, in order of rank.</summary>
    public static IReadOnlyList<(string Left, string Right)> ReadMerges(TokenizerPart part)
    {
        if (JsonFiles.Optional(part.Value, "merges") is not { ValueKind: JsonValueKind.Array } list)
        {
            throw new TokenizerException($"'{part.Path}': {part.Key}.merges is missing.");
        }

        // "a b" in older files, ["a", "b"] in newer ones.
        var merges = list.EnumerateArray().Where(merge => merge.ValueKind != JsonValueKind.String || !IsVersion(merge.GetString()!));
        return [.. merges.Select((merge, index) => merge.ValueKind switch
        {
            JsonValueKind.String => ParseMerge(merge.GetString()!, part.Path, $"{part.Key}.merges[{index}]"),
            JsonValueKind.Array when merge.GetArrayLength() == 2 => (merge[0].GetString()!, merge[1].GetString()!),
            _ => throw JsonFiles.Unsupported(part.Path, $"{part.Key}.merges[{index}]", merge.GetRawText()),
        })];
    }

    /// <summary>The pairs of merges.txt, in order of rank.</summary>
    public static IReadOnlyList<(string Left, string Right)> ReadMerges(string path) =>
    [
        .. Encoding.UTF8.GetString(JsonFiles.ReadBytes(path)).TrimStart('\uFEFF').Split('\n')
            .Select(line => line.TrimEnd('\r'))
            .Where(line => line.Length > 0 && !IsVersion(line))
            .Select((line, index) => ParseMerge(line, path, $"merge {index}")),
    ];

    private static ITextModel ReadModel(TokenizerPart part)
    {
        string type = JsonFiles.Optional(part.Value, "type") is null ? "BPE" : part.Type;
        return type switch
        {
            "BPE" => ReadBpe(part),
            "Unigram" => ReadUnigram(part),
            _ => throw part.Unsupported("type"),
        };
    }

    private static BpeModel ReadBpe(TokenizerPart part)
    {
        if (JsonFiles.Optional(part.Value, "dropout") is { } dropout
            && !(dropout.ValueKind == JsonValueKind.Number && dropout.GetDouble() == 0))
        {
            // It draws merges by chance, which is for training only.
            throw part.Unsupported("dropout");
        }

        var options = new BpeOptions
        {
            IgnoresMerges = part.Boolean("ignore_merges", false),
            ByteFallback = part.Boolean("byte_fallback", false),
            FusesUnknown = part.Boolean("fuse_unk", false),
            UnknownToken = JsonFiles.Optional(part.Value, "unk_token") is null ? null : part.Text("unk_token"),
            ContinuingPrefix = JsonFiles.Optional(part.Value, "continuing_subword_prefix") is null
                ? "" : part.Text("continuing_subword_prefix"),
            EndOfWordSuffix = JsonFiles.Optional(part.Value, "end_of_word_suffix") is null ? "" : part.Text("end_of_word_suffix"),
        };
        var vocabulary = ReadVocabulary(JsonFiles.Optional(part.Value, "vocab"), part.Path, "model.vocab");
        return new BpeModel(vocabulary, ReadMerges(part), options, part.Path);
    }

    private static UnigramModel ReadUnigram(TokenizerPart part)
    {
        if (JsonFiles.Optional(part.Value, "vocab") is not { ValueKind: JsonValueKind.Array } list)
        {
            throw new TokenizerException($"'{part.Path}': {part.Key}.vocab should be a list of pieces and scores.");
        }

        var pieces = list.EnumerateArray().Select((entry, index) =>
            entry.ValueKind == JsonValueKind.Array && entry.GetArrayLength() == 2
            && entry[0].ValueKind == JsonValueKind.String && entry[1].ValueKind == JsonValueKind.Number
                ? (entry[0].GetString()!, entry[1].GetDouble())
                : throw JsonFiles.Unsupported(part.Path, $"{part.Key}.vocab[{index}]", entry.GetRawText()));
        int? unknownId = JsonFiles.Optional(part.Value, "unk_id") is null ? null : part.Integer("unk_id");
        return new UnigramModel([.. pieces], unknownId, part.Boolean("byte_fallback", false), part.Path);
    }

    /// <summary>
    /// Some vocabularies lack a few bytes that hardly any text has (SmolLM2's lacks six control characters and some lead bytes). Without
    /// an unknown token the original tokenizer drops those silently, and so does this one. A vocabulary that lacks most of them is of
    /// another kind.
    /// </summary>
    private static void CheckBytes(ITextModel model, string path)
    {
        int known = 0;
        foreach (char character in ByteAlphabet.Characters)
        {
            known += model.Vocabulary.ContainsKey(character.ToString()) ? 1 : 0;
        }

        if (known < 192)
        {
            throw new TokenizerException($"'{path}': only {known} of 256 bytes have a token, so this is no byte-level vocabulary.");
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

    /// <summary>Whether this is the first line of merges.txt, which is no merge.</summary>
    private static bool IsVersion(string merge) => merge.StartsWith("#version", StringComparison.Ordinal);

    private static (string Left, string Right) ParseMerge(string merge, string path, string key) =>
        merge.Split(' ') is [{ } left, { } right] ? (left, right) : throw JsonFiles.Unsupported(path, key, merge);

    private static List<AddedToken> ReadAddedTokens(JsonElement root, string path)
    {
        var added = new List<AddedToken>();
        if (JsonFiles.Optional(root, "added_tokens") is not { } list)
        {
            return added;
        }

        foreach (var element in list.EnumerateArray())
        {
            int id = JsonFiles.Optional(element, "id") is { } value
                ? JsonFiles.Integer(value, path, "added_tokens.id")
                : throw new TokenizerException($"'{path}': an entry of added_tokens has no id.");
            added.Add(AddedToken.Read(element, id, path));
        }

        return added;
    }
}
