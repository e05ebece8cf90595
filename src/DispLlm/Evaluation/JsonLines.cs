using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

namespace DispLlm.Evaluation;

/// <summary>One line of a JSON Lines file.</summary>
/// <param name="File">The file's full path.</param>
/// <param name="Index">The line's index, from 0.</param>
/// <param name="Value">What the line holds.</param>
/// <typeparam name="T">The record that a line is read into.</typeparam>
internal sealed record JsonLine<T>(string File, int Index, T Value)
{
    /// <summary>The error for the value of a key.</summary>
    public EvaluationException Error(string key, string problem) =>
        new($"{File}, line {Index + 1}: {CheckpointException.Quote(key)}: {problem}. Repair or remove the line.");

    /// <summary>A list without null elements.</summary>
    public IReadOnlyList<TItem> Require<TItem>(string key, IReadOnlyList<TItem?> items)
        where TItem : class =>
        [.. items.Select((item, index) => item ?? throw Error($"{key}[{index}]", "it is null"))];
}

/// <summary>Reads JSON Lines files into records. Errors name file, line, key and value.</summary>
internal static partial class JsonLines
{
    // Published files hold more keys than are read, and numbers as strings.
    private static readonly JsonSerializerOptions s_options = new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowReadingFromString,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip,
    };

    /// <summary>Reads all lines of a file. Empty lines at its end are skipped.</summary>
    /// <exception cref="EvaluationException">The file cannot be read, or a line is not valid.</exception>
    public static IReadOnlyList<JsonLine<T>> Read<T>(string path)
        where T : class
    {
        string file = Path.GetFullPath(path);
        string[] lines;
        try
        {
            string text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(File.ReadAllBytes(file));
            lines = text.TrimStart('\uFEFF').TrimEnd().Split('\n');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            string reason = e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file." : e.Message;
            throw new EvaluationException($"{file}: {reason}", e);
        }

        return [.. lines.Select((line, index) => new JsonLine<T>(file, index, Parse<T>(file, index, line)))];
    }

    /// <summary>Names the key and the value that an error is about.</summary>
    /// <param name="error">The error of System.Text.Json.</param>
    /// <param name="json">The text that was read.</param>
    public static string Describe(JsonException error, string json)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(json);
        }
        catch (JsonException e)
        {
            return $"it is not valid JSON: {e.Message}";
        }

        using var disposed = document;
        var value = document.RootElement;
        foreach (Match step in PathStep().Matches(error.Path ?? string.Empty))
        {
            if (value.ValueKind == JsonValueKind.Array && int.TryParse(step.Groups["index"].Value, out int i) && i < value.GetArrayLength())
            {
                value = value[i];
            }
            else if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty(step.Groups["key"].Value, out var property))
            {
                value = property;
            }
        }

        string key = error.Path is null or "$" ? "it" : CheckpointException.Quote(error.Path[1..].TrimStart('.')), text = value.GetRawText();
        string problem = error.Message.Split(" Path: $")[0].Split(" LineNumber: ")[0];
        return $"{key} is {(text.Length > 60 ? text[..60] + "..." : text)}: {problem}";
    }

    private static T Parse<T>(string file, int index, string line)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(line, s_options) ?? throw new JsonException("null is not a JSON object.", "$", null, null);
        }
        catch (JsonException e)
        {
            throw new EvaluationException($"{file}, line {index + 1}: {Describe(e, line)} Is this a JSON Lines file of the task?", e);
        }
    }

    [GeneratedRegex(@"\.(?<key>[^.\[]+)|\['(?<key>[^']*)'\]|\[(?<index>\d+)\]")]
    private static partial Regex PathStep();
}
