using System.Text.Json;

namespace DispLlm;

/// <summary>
/// What the small JSON files beside a vocabulary say about special tokens: tokenizer_config.json first, then special_tokens_map.json,
/// then config.json, each only for what the one before leaves open.
/// </summary>
internal sealed class TokenizerSettings
{
    private readonly Dictionary<string, string?> _names = [];
    private readonly Dictionary<string, int> _ids = [];

    /// <summary>add_bos_token, where it is said.</summary>
    public bool? AddsBeginOfText { get; private init; }

    /// <summary>add_prefix_space: whether GPT-2's two files put a space before a text.</summary>
    public bool AddsPrefixSpace { get; private init; }

    /// <summary>Tokens of added_tokens.json and of tokenizer_config.json's added_tokens_decoder.</summary>
    public IReadOnlyList<AddedToken> AddedTokens { get; private init; } = [];

    /// <summary>The texts of all special tokens that the files name.</summary>
    public IReadOnlyList<string> SpecialNames { get; private init; } = [];

    /// <summary>Reads the files that there are; none is required.</summary>
    public static TokenizerSettings Read(string folder)
    {
        var names = new Dictionary<string, string?>();
        var ids = new Dictionary<string, int>();
        var specials = new HashSet<string>();
        var added = new Dictionary<string, AddedToken>();
        bool? addsBeginOfText = null;
        bool addsPrefixSpace = false;

        using (var config = JsonFiles.TryOpen(Path.Combine(folder, "tokenizer_config.json"), out string configPath))
        {
            if (config is not null)
            {
                ReadNames(config.RootElement, configPath, names, specials);
                addsBeginOfText = config.RootElement.TryGetProperty("add_bos_token", out var adds) && adds.ValueKind != JsonValueKind.Null
                    ? JsonFiles.Boolean(adds, configPath, "add_bos_token")
                    : null;
                addsPrefixSpace = JsonFiles.Boolean(config.RootElement, "add_prefix_space", false, configPath);
                if (config.RootElement.TryGetProperty("added_tokens_decoder", out var decoder) && decoder.ValueKind == JsonValueKind.Object)
                {
                    foreach (var entry in decoder.EnumerateObject())
                    {
                        if (!int.TryParse(entry.Name, out int id))
                        {
                            throw JsonFiles.Unsupported(configPath, "added_tokens_decoder", entry.Name);
                        }

                        var token = AddedToken.Read(entry.Value, id, configPath);
                        added[token.Content] = token;
                    }
                }
            }
        }

        using (var map = JsonFiles.TryOpen(Path.Combine(folder, "special_tokens_map.json"), out string mapPath))
        {
            if (map is not null)
            {
                ReadNames(map.RootElement, mapPath, names, specials);
            }
        }

        using (var tokens = JsonFiles.TryOpen(Path.Combine(folder, "added_tokens.json"), out string tokensPath))
        {
            foreach (var entry in tokens?.RootElement.EnumerateObject().ToArray() ?? [])
            {
                int id = JsonFiles.Integer(entry.Value, tokensPath, entry.Name);
                added.TryAdd(entry.Name, new AddedToken(entry.Name, id, IsNormalized: !specials.Contains(entry.Name)));
            }
        }

        using (var config = JsonFiles.TryOpen(Path.Combine(folder, "config.json"), out string configPath))
        {
            foreach (string key in (string[])["bos_token_id", "eos_token_id"])
            {
                if (config is not null && config.RootElement.TryGetProperty(key, out var value))
                {
                    // Some chat models list several ends; the first is the tokenizer's.
                    value = value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().FirstOrDefault() : value;
                    if (value.ValueKind == JsonValueKind.Number)
                    {
                        ids[key] = JsonFiles.Integer(value, configPath, key);
                    }
                }
            }
        }

        return new TokenizerSettings(names, ids)
        {
            // A tokenizer.json says by its own post-processor what it adds; transformers then ignores the key.
            AddsBeginOfText = File.Exists(Path.Combine(folder, "tokenizer.json")) && !File.Exists(Path.Combine(folder, "tokenizer.model"))
                ? null
                : addsBeginOfText,
            AddsPrefixSpace = addsPrefixSpace,
            AddedTokens = [.. added.Values],
            SpecialNames = [.. specials],
        };
    }

    private TokenizerSettings(Dictionary<string, string?> names, Dictionary<string, int> ids)
    {
        _names = names;
        _ids = ids;
    }

    /// <summary>The beginning-of-text id.</summary>
    public int? BeginOfTextId(ITokenCodec codec) => Resolve(codec, "bos_token", codec.BeginOfTextId);

    /// <summary>The end-of-text id.</summary>
    public int? EndOfTextId(ITokenCodec codec) => Resolve(codec, "eos_token", codec.EndOfTextId);

    private int? Resolve(ITokenCodec codec, string key, int? ofVocabulary)
    {
        // A name that is set to null is an answer: Qwen's config.json gives an id to a token that its tokenizer does not have.
        if (_names.TryGetValue(key, out string? name))
        {
            return name is null ? null : codec.FindId(name) ?? throw new TokenizerException(
                $"The tokenizer's {key} is '{name}', which its vocabulary does not have.");
        }

        return _ids.TryGetValue(key + "_id", out int id) ? id : ofVocabulary;
    }

    private static void ReadNames(JsonElement root, string path, Dictionary<string, string?> names, HashSet<string> specials)
    {
        foreach (var property in root.EnumerateObject())
        {
            if (!property.Name.EndsWith("_token", StringComparison.Ordinal) || property.Name.StartsWith("add_", StringComparison.Ordinal))
            {
                continue;
            }

            // A token is written as its text, or as an object with the text and how it matches.
            var value = property.Value;
            string? name = value.ValueKind switch
            {
                JsonValueKind.String => value.GetString(),
                JsonValueKind.Null => null,
                JsonValueKind.Object when value.TryGetProperty("content", out var content) => content.GetString(),
                _ => throw JsonFiles.Unsupported(path, property.Name, value.GetRawText()),
            };
            names.TryAdd(property.Name, name);
            if (name is not null)
            {
                specials.Add(name);
            }
        }
    }
}
