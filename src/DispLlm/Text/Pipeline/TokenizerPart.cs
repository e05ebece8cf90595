using System.Text.Json;

namespace DispLlm;

/// <summary>An object of tokenizer.json, with the place where it stands, so that every error can name it.</summary>
internal readonly record struct TokenizerPart(JsonElement Value, string Path, string Key)
{
    public string Type => Text("type");

    /// <summary>File and key, for errors.</summary>
    public string Name => $"'{Path}': {Key}";

    /// <summary>A part of the file, or <see langword="null"/> where it is missing or null.</summary>
    public static TokenizerPart? Find(JsonElement root, string key, string path) =>
        JsonFiles.Optional(root, key) is { } value ? new TokenizerPart(value, path, key).AsObject() : null;

    public string Text(string key) => JsonFiles.Optional(AsObject().Value, key) is { ValueKind: JsonValueKind.String } text
        ? text.GetString()!
        : throw new TokenizerException($"'{Path}': a text is missing at {Key}.{key}.");

    public bool Boolean(string key, bool otherwise) => JsonFiles.Optional(AsObject().Value, key) is { } value
        ? JsonFiles.Boolean(value, Path, $"{Key}.{key}")
        : otherwise;

    public int Integer(string key) => JsonFiles.Optional(AsObject().Value, key) is { } value
        ? JsonFiles.Integer(value, Path, $"{Key}.{key}")
        : throw new TokenizerException($"'{Path}': a number is missing at {Key}.{key}.");

    /// <summary>One character, as a text.</summary>
    public string Character(string key)
    {
        string text = Text(key);
        return text.EnumerateRunes().Count() == 1 ? text : throw Unsupported(key);
    }

    /// <summary>The objects of a list.</summary>
    public IEnumerable<TokenizerPart> Parts(string key)
    {
        if (JsonFiles.Optional(AsObject().Value, key) is not { ValueKind: JsonValueKind.Array } list)
        {
            throw new TokenizerException($"'{Path}' cannot be read: a list is missing at {Key}.{key}.");
        }

        var (path, place) = (Path, Key);
        return list.EnumerateArray().Select((element, index) => new TokenizerPart(element, path, $"{place}.{key}[{index}]").AsObject());
    }

    /// <summary>A pattern: a text as it is, or an expression.</summary>
    public CodePointExpression Pattern()
    {
        var pattern = Find(Value, "pattern", Path) ?? throw new TokenizerException($"'{Path}': {Key}.pattern is missing.");
        if (JsonFiles.Optional(pattern.Value, "Regex") is { ValueKind: JsonValueKind.String } regex)
        {
            return CodePointExpression.Parse(regex.GetString()!, Name);
        }

        string text = pattern.Text("String");
        return text.Length > 0 ? CodePointExpression.FromLiteral(text, Name) : throw Unsupported("pattern");
    }

    /// <summary>The error for a value that is not supported.</summary>
    public TokenizerException Unsupported(string key) => JsonFiles.Unsupported(
        Path, $"{Key}.{key}", JsonFiles.Optional(Value, key) is { } value ? JsonFiles.Plain(value) : "null");

    private TokenizerPart AsObject() => Value.ValueKind == JsonValueKind.Object
        ? this
        : throw new TokenizerException($"'{Path}' cannot be read: {Key} should be an object, but is {Value.GetRawText()}.");
}
