using System.Globalization;
using System.Text.Json;

namespace DispLlm;

/// <summary>
/// What the small JSON files beside a vocabulary say about special tokens: tokenizer_config.json first, then special_tokens_map.json,
/// then, after the vocabulary itself, generation_config.json and config.json, each only for what the one before leaves open.
/// </summary>
internal sealed class TokenizerSettings
{
    // Tokenizers of transformers that follow add_bos_token and add_eos_token whatever their tokenizer.json adds.
    private static readonly string[] s_followingClasses = ["LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"];

    // Names of special tokens by key; null where a file says that there is none.
    private readonly Dictionary<string, string?> _names = [];
    private readonly Dictionary<string, int[]> _ids = [];
    private readonly Dictionary<string, AddedToken> _added = [];

    // Special tokens by name, still without an id, and whether the files describe how they are found in a text.
    private readonly Dictionary<string, (AddedToken Token, bool IsDescribed)> _special = [];

    private string? _className;

    private TokenizerSettings()
    {
    }

    /// <summary>add_bos_token, where it is said.</summary>
    public bool? AddsBeginOfText { get; private set; }

    /// <summary>add_eos_token, where it is said.</summary>
    public bool? AddsEndOfText { get; private set; }

    /// <summary>add_prefix_space: whether GPT-2's two files put a space before a text.</summary>
    public bool AddsPrefixSpace { get; private set; }

    /// <summary>legacy: whether SentencePiece's space goes before every part between special tokens, not the first only.</summary>
    public bool IsLegacy { get; private set; } = true;

    /// <summary>Tokens of added_tokens.json and of tokenizer_config.json's added_tokens_decoder.</summary>
    public IReadOnlyCollection<AddedToken> AddedTokens => _added.Values;

    /// <summary>The texts of all special tokens that the files name.</summary>
    public IReadOnlyCollection<string> SpecialNames => _special.Keys;

    /// <summary>Tokens that end a generation: eos_token_id of generation_config.json, or else of config.json.</summary>
    public IReadOnlyList<int> StopTokenIds => _ids.GetValueOrDefault("eos_token_id") ?? [];

    /// <summary>Reads the files that there are; none is required.</summary>
    public static TokenizerSettings Read(string folder)
    {
        var settings = new TokenizerSettings();
        With("tokenizer_config.json", settings.ReadTokenizerConfig);
        With("special_tokens_map.json", settings.ReadNames);
        With("added_tokens.json", settings.ReadAddedTokens);
        With("generation_config.json", settings.ReadIds);
        With("config.json", settings.ReadIds);
        if (settings._className is { } name && File.Exists(Path.Combine(folder, "tokenizer.json"))
            && !s_followingClasses.Contains(name.EndsWith("Fast", StringComparison.Ordinal) ? name[..^4] : name))
        {
            // The file's post-processor says what is added; transformers then ignores the keys.
            (settings.AddsBeginOfText, settings.AddsEndOfText) = (null, null);
        }

        return settings;

        void With(string name, Action<JsonElement, string> read)
        {
            using var document = JsonFiles.TryOpen(Path.Combine(folder, name), out string path);
            if (document is not null)
            {
                read(document.RootElement, path);
            }
        }
    }

    /// <summary>
    /// The tokens that are found in a text although the vocabulary's own file does not say so: added ones, and special ones that are
    /// described as such. A bare name, such as "bos_token": "&lt;s&gt;", describes none where no added token is listed: the vocabulary's
    /// own program does not find it.
    /// </summary>
    /// <param name="findId">The id of a token in the vocabulary.</param>
    public IEnumerable<AddedToken> TokensInText(Func<string, int?> findId)
    {
        var special = _special.Values.Where(entry => (entry.IsDescribed || _added.Count > 0) && !_added.ContainsKey(entry.Token.Content));
        return _added.Values.Concat(special.Where(entry => findId(entry.Token.Content) is not null)
            .Select(entry => entry.Token with { Id = findId(entry.Token.Content)!.Value }));
    }

    /// <summary>The text of a special token, such as <c>pad_token</c>; <see langword="null"/> where the files name none.</summary>
    public string? NameAt(string key) => _names.GetValueOrDefault(key);

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

        // config.json comes last: early conversions have wrong ids there.
        return ofVocabulary ?? (_ids.TryGetValue(key + "_id", out int[]? ids) ? ids[0] : null);
    }

    private void ReadTokenizerConfig(JsonElement root, string path)
    {
        ReadNames(root, path);
        AddsBeginOfText = JsonFiles.Optional(root, "add_bos_token") is { } begins ? JsonFiles.Boolean(begins, path, "add_bos_token") : null;
        AddsEndOfText = JsonFiles.Optional(root, "add_eos_token") is { } ends ? JsonFiles.Boolean(ends, path, "add_eos_token") : null;
        AddsPrefixSpace = JsonFiles.Boolean(root, "add_prefix_space", false, path);
        _className = JsonFiles.Optional(root, "tokenizer_class") is { ValueKind: JsonValueKind.String } name ? name.GetString() : null;
        IsLegacy = JsonFiles.Boolean(root, "legacy", true, path);
        if (JsonFiles.Optional(root, "added_tokens_decoder") is not { ValueKind: JsonValueKind.Object } decoder)
        {
            return;
        }

        foreach (var entry in decoder.EnumerateObject())
        {
            var token = int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
                ? AddedToken.Read(entry.Value, id, path)
                : throw JsonFiles.Unsupported(path, "added_tokens_decoder", entry.Name);
            _added[token.Content] = token;
        }
    }

    private void ReadAddedTokens(JsonElement root, string path)
    {
        foreach (var entry in root.EnumerateObject())
        {
            int id = JsonFiles.Integer(entry.Value, path, entry.Name);
            if (entry.Name.Length == 0)
            {
                throw new TokenizerException($"'{path}': added token {id} has no text.");
            }

            bool isSpecial = _special.ContainsKey(entry.Name);
            _added.TryAdd(entry.Name, new AddedToken(entry.Name, id) { IsNormalized = !isSpecial, IsSpecial = isSpecial });
        }
    }

    private void ReadIds(JsonElement root, string path)
    {
        foreach (string key in (string[])["bos_token_id", "eos_token_id"])
        {
            // Chat models list several ends; -1 says that there is none.
            var value = JsonFiles.Optional(root, key);
            int[] ids = value is { ValueKind: JsonValueKind.Array } list
                ? [.. list.EnumerateArray().Select(id => JsonFiles.Integer(id, path, key))]
                : value is { } single && single.GetRawText() != "-1" ? [JsonFiles.Integer(single, path, key)] : [];
            if (ids.Length > 0)
            {
                _ids.TryAdd(key, ids);
            }
        }
    }

    private void ReadNames(JsonElement root, string path)
    {
        foreach (var property in root.EnumerateObject())
        {
            if (property.Name is "additional_special_tokens" or "extra_special_tokens")
            {
                var elements = property.Value.ValueKind switch
                {
                    JsonValueKind.Array => property.Value.EnumerateArray().AsEnumerable(),
                    JsonValueKind.Object => property.Value.EnumerateObject().Select(entry => entry.Value),
                    _ => Enumerable.Empty<JsonElement>(),
                };
                foreach (var element in elements)
                {
                    ReadName(element, path, property.Name, isDescribed: true);
                }
            }
            else if (property.Name.EndsWith("_token", StringComparison.Ordinal)
                && !property.Name.StartsWith("add_", StringComparison.Ordinal))
            {
                // An empty name says nothing, unlike null.
                string? name = ReadName(property.Value, path, property.Name, property.Value.ValueKind == JsonValueKind.Object);
                if (name != "")
                {
                    _names.TryAdd(property.Name, name);
                }
            }
        }
    }

    /// <summary>A token is written as its text, or as an object with the text and how it matches.</summary>
    private string? ReadName(JsonElement value, string path, string key, bool isDescribed)
    {
        string? name = value.ValueKind switch
        {
            JsonValueKind.String => value.GetString(),
            JsonValueKind.Null => null,
            JsonValueKind.Object => JsonFiles.Text(value, "content", path),
            _ => throw JsonFiles.Unsupported(path, key, value.GetRawText()),
        };
        if (string.IsNullOrEmpty(name))
        {
            return name;
        }

        var token = value.ValueKind == JsonValueKind.Object ? AddedToken.Read(value, -1, path) : new AddedToken(name, -1);
        if (!_special.TryGetValue(name, out var known) || (isDescribed && !known.IsDescribed))
        {
            _special[name] = (token with { IsSpecial = true }, isDescribed);
        }

        return name;
    }
}
