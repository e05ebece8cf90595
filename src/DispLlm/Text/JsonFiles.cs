using System.Text.Json;

namespace DispLlm;

/// <summary>Reading a tokenizer's JSON files, with errors that name file, key and value.</summary>
internal static class JsonFiles
{
    private static readonly JsonDocumentOptions Options = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };

    /// <summary>Opens a file, or gives <see langword="null"/> where there is none.</summary>
    public static JsonDocument? TryOpen(string path, out string samePath)
    {
        samePath = path;
        return File.Exists(path) ? Open(path) : null;
    }

    /// <summary>The bytes of a tokenizer's file.</summary>
    public static byte[] ReadBytes(string path)
    {
        try
        {
            byte[] bytes = File.ReadAllBytes(path);
            return GitLfsPointer.IsPointer(bytes)
                ? throw new TokenizerException($"'{path}': {GitLfsPointer.Remedy("tokenizer")}")
                : bytes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerException($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Opens a file that holds one JSON object.</summary>
    public static JsonDocument Open(string path)
    {
        try
        {
            var document = JsonDocument.Parse(ReadBytes(path), Options);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return document;
            }

            document.Dispose();
            throw new TokenizerException($"'{path}' should hold a JSON object.");
        }
        catch (JsonException e)
        {
            throw new TokenizerException($"'{path}' is not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>The error for a value that is not supported.</summary>
    public static TokenizerException Unsupported(string path, string key, string value) =>
        new($"'{path}': {key} = {(value.Length > 200 ? value[..200] + "..." : value)} is not supported. " +
            "Ids would differ from the model's own, so the tokenizer is refused.");

    /// <summary>A value as a message shows it: texts without quotes.</summary>
    public static string Plain(JsonElement value) =>
        value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();

    /// <summary>An id. The bound is far above any vocabulary; it keeps a damaged file from asking for all the memory there is.</summary>
    public static int Integer(JsonElement value, string path, string key) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number is >= 0 and < 1 << 26
            ? number
            : throw new TokenizerException($"'{path}': {key} should be an id, a whole number from 0, but is {value.GetRawText()}.");

    /// <summary>True or false.</summary>
    public static bool Boolean(JsonElement value, string path, string key) => value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw new TokenizerException($"'{path}': {key} should be true or false, but is {value.GetRawText()}."),
    };

    /// <summary>True or false, or a default where the key is missing or null.</summary>
    public static bool Boolean(JsonElement parent, string key, bool otherwise, string path) =>
        Optional(parent, key) is { } value ? Boolean(value, path, key) : otherwise;

    /// <summary>A text.</summary>
    public static string Text(JsonElement parent, string key, string path) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw new TokenizerException($"'{path}': a text is missing at {key}.");

    /// <summary>The value of a key, or <see langword="null"/> where it is missing or null.</summary>
    public static JsonElement? Optional(JsonElement parent, string key) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null
            ? value
            : null;
}
