using System.Text;
using System.Text.Json;

namespace DispLlm.Evaluation;

/// <summary>A line of a JSON Lines file, or a value in it, whose errors name file, line and key.</summary>
internal sealed class JsonLine
{
    private readonly JsonElement _value;
    private readonly string _key;

    private JsonLine(string file, int number0, string key, JsonElement value)
    {
        File = file;
        Number0 = number0;
        _key = key;
        _value = value;
    }

    /// <summary>The file's full path.</summary>
    public string File { get; }

    /// <summary>The line's number, from 0.</summary>
    public int Number0 { get; }

    /// <summary>All lines of a file, each a JSON object. Empty lines at the end are nothing.</summary>
    public static IReadOnlyList<JsonLine> ReadAll(string path)
    {
        string file = Path.GetFullPath(path);
        string[] lines;
        try
        {
            lines = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(System.IO.File.ReadAllBytes(file)).TrimStart('\uFEFF').TrimEnd().Split('\n');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            string reason = e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file." : e.Message;
            throw new EvaluationException($"{file}: {reason}", e);
        }

        return [.. lines.Select((line, number0) => Parse(file, number0, line))];
    }

    public bool Has(string key) => _value.TryGetProperty(key, out _);

    /// <summary>The text at a path of keys; without one, this value.</summary>
    public string Text(params ReadOnlySpan<string> keys)
    {
        var at = At(keys);
        if (at._value.ValueKind != JsonValueKind.String)
        {
            throw at.Broken(string.Empty, $"it should be a text, not {at._value.ValueKind}");
        }

        try
        {
            return at._value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw at.Broken(string.Empty, $"it is no valid Unicode: {e.Message}");
        }
    }

    /// <summary>The whole number at a key, or the text of one: published files have either.</summary>
    public int Number(string key)
    {
        var at = At([key]);
        return at._value.ValueKind switch
        {
            JsonValueKind.Number when at._value.TryGetInt32(out int number) => number,
            JsonValueKind.String when int.TryParse(at.Text(), System.Globalization.CultureInfo.InvariantCulture, out int number) => number,
            _ => throw at.Broken(string.Empty, $"it should be a whole number, not {at._value.GetRawText()}"),
        };
    }

    /// <summary>The list at a path of keys.</summary>
    public IReadOnlyList<JsonLine> List(params ReadOnlySpan<string> keys)
    {
        var at = At(keys);
        return at._value.ValueKind == JsonValueKind.Array
            ? [.. at._value.EnumerateArray().Select((value, i) => new JsonLine(File, Number0, $"{at._key}[{i}]", value))]
            : throw at.Broken(string.Empty, $"it should be a list, not {at._value.ValueKind}");
    }

    /// <summary>The error for what stands at a key.</summary>
    public EvaluationException Broken(string key, string what) => new($"{File}, line {Number0 + 1}: {CheckpointException.Quote(Below(key))}: {what}. Repair or remove the line.");

    private static JsonLine Parse(string file, int number0, string line)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? new JsonLine(file, number0, string.Empty, document.RootElement.Clone())
                : throw new EvaluationException($"{file}, line {number0 + 1}: it should be a JSON object, not {document.RootElement.ValueKind}. Is this a JSON Lines file?");
        }
        catch (JsonException e)
        {
            throw new EvaluationException($"{file}, line {number0 + 1}: it is not valid JSON: {e.Message} Is this a JSON Lines file?", e);
        }
    }

    private JsonLine At(ReadOnlySpan<string> keys)
    {
        var at = this;
        foreach (string key in keys)
        {
            if (at._value.ValueKind != JsonValueKind.Object || !at._value.TryGetProperty(key, out var value))
            {
                throw at.Broken(key, "it is missing");
            }

            at = new JsonLine(File, Number0, at.Below(key), value);
        }

        return at;
    }

    private string Below(string key) => key.Length == 0 ? _key : _key.Length == 0 ? key : $"{_key}.{key}";
}
