using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DispLlm.Evaluation;

/// <summary>One JSON object of a JSON Lines file. Errors name file, line, key and value.</summary>
/// <param name="File">The file's full path.</param>
/// <param name="Index">The line's index, from 0.</param>
/// <param name="Json">The object.</param>
internal sealed record JsonLine(string File, int Index, string Json)
{
    // Published files hold more keys than are read, and numbers as strings.
    private static readonly JsonSerializerOptions s_options = new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowReadingFromString,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip,
    };

    /// <summary>Reads the line into a record.</summary>
    /// <exception cref="EvaluationException">The line is no such object.</exception>
    public T Read<T>()
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(Json, s_options) ?? throw new JsonException("null is not a JSON object.", "$", null, null);
        }
        catch (JsonException e)
        {
            string problem = StrictJsonFile.Describe(e, Encoding.UTF8.GetBytes(Json), string.Empty);
            throw new EvaluationException($"{File}, line {Index + 1}: {problem} Is this a JSON Lines file of the task?", e);
        }
    }

    /// <summary>Whether the object has a key; false where the line is no object.</summary>
    public bool Has(string key)
    {
        using var document = JsonLines.TryParse(Json);
        return document is { RootElement.ValueKind: JsonValueKind.Object } && document.RootElement.TryGetProperty(key, out _);
    }

    /// <summary>The error for the value of a key.</summary>
    public EvaluationException Error(string key, string problem) =>
        new($"{File}, line {Index + 1}: {CheckpointException.Quote(key)}: {problem}. Repair or remove the line.");

    /// <summary>A list without null elements.</summary>
    public IReadOnlyList<TItem> Require<TItem>(string key, IReadOnlyList<TItem?> items)
        where TItem : class =>
        [.. items.Select((item, index) => item ?? throw Error($"{key}[{index}]", "it is null"))];
}

/// <summary>
/// Reads JSON Lines files. Rows as the server of Hugging Face's data sets returns them, <c>{"row": {...}}</c> or a page of them in
/// <c>{"rows": [...]}</c>, are unwrapped.
/// </summary>
internal static class JsonLines
{
    /// <summary>Reads all lines of a file. Empty lines at its end are skipped.</summary>
    /// <exception cref="EvaluationException">The file cannot be read.</exception>
    public static IReadOnlyList<JsonLine> Read(string path)
    {
        string file = Path.GetFullPath(path);
        string[] lines;
        try
        {
            byte[] bytes = File.ReadAllBytes(file);
            EnsureIsText(bytes, file);
            string text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
            lines = text.TrimStart('\uFEFF').TrimEnd().Split('\n');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            string reason = e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file." : e.Message;
            throw new EvaluationException($"{file}: {reason}", e);
        }

        return [.. lines.SelectMany((line, index) => Unwrap(new JsonLine(file, index, line)))];
    }

    /// <summary>A line as JSON; null where it is none.</summary>
    public static JsonDocument? TryParse(string line)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static void EnsureIsText(ReadOnlySpan<byte> bytes, string file)
    {
        if (GitLfsPointer.IsPointer(bytes))
        {
            throw new EvaluationException($"{file}: {GitLfsPointer.Remedy("tasks")}");
        }

        if (bytes.StartsWith("PAR1"u8))
        {
            throw new EvaluationException(
                $"{file}: this is a Parquet file, which is not read. Write it as JSON Lines, in Python: "
                    + "datasets.Dataset.from_parquet(file).to_json(\"rows.jsonl\").");
        }
    }

    private static List<JsonLine> Unwrap(JsonLine line)
    {
        using var document = TryParse(line.Json);
        return document is { RootElement: { ValueKind: JsonValueKind.Object } root }
            ? root.TryGetProperty("rows", out var rows) && rows.ValueKind == JsonValueKind.Array
                ? [.. rows.EnumerateArray().Select(row => Unwrap(line, row))]
                : [Unwrap(line, root)]
            : [line];
    }

    private static JsonLine Unwrap(JsonLine line, JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty("row", out var row) || row.ValueKind != JsonValueKind.Object)
        {
            return line with { Json = json.GetRawText() };
        }

        return json.TryGetProperty("truncated_cells", out var cells) && cells.ValueKind == JsonValueKind.Array && cells.GetArrayLength() > 0
            ? throw line.Error("truncated_cells", "the server has cut values of the row off")
            : line with { Json = row.GetRawText() };
    }
}
