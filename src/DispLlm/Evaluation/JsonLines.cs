using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

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
internal static class JsonLines
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

    private static T Parse<T>(string file, int index, string line)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(line, s_options) ?? throw new JsonException("null is not a JSON object.", "$", null, null);
        }
        catch (JsonException e)
        {
            string problem = StrictJsonFile.Describe(e, Encoding.UTF8.GetBytes(line), string.Empty);
            throw new EvaluationException($"{file}, line {index + 1}: {problem} Is this a JSON Lines file of the task?", e);
        }
    }
}
