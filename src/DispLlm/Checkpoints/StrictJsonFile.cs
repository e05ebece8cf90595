using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Unicode;

namespace DispLlm.Checkpoints;

/// <summary>
/// Reads the JSON files that this library writes and people edit. System.Text.Json does it in its strict mode: a key that is unknown,
/// missing or there twice is an error, since a typing error that is ignored in silence would cut the wrong weights. Memory is proportional
/// to the file.
/// </summary>
internal static class StrictJsonFile
{
    private const int LongestValue = 40;

    private static readonly JsonSerializerOptions s_versionOptions = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Strict mode, with keys and the values of enums in snake_case.</summary>
    public static JsonSerializerOptions Options { get; } = new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new EnumWordConverter() },
    };

    /// <summary>Reads one JSON value whose <c>format_version</c> is known.</summary>
    /// <typeparam name="T">What the file holds: a record whose required members are the file's required keys.</typeparam>
    /// <param name="utf8">The file's bytes; a byte-order mark is skipped.</param>
    /// <param name="oldest">The first version that is read.</param>
    /// <param name="newest">The last one. Versions are checked first: a later one may have other keys.</param>
    /// <param name="options"><see cref="Options"/>, or a copy of it with more converters.</param>
    /// <exception cref="FormatException">The bytes are no such value; the message names the key, the value and what is wrong.</exception>
    public static T Parse<T>(ReadOnlySpan<byte> utf8, int oldest, int newest, JsonSerializerOptions options)
        where T : class
    {
        // Some editors put the mark before UTF-8; it carries no meaning.
        utf8 = utf8.StartsWith("\uFEFF"u8) ? utf8[3..] : utf8;
        if (GitLfsPointer.IsPointer(utf8))
        {
            throw new FormatException(GitLfsPointer.Remedy("file"));
        }

        if (!Utf8.IsValid(utf8))
        {
            throw new FormatException("not valid UTF-8. Save the file as UTF-8.");
        }

        try
        {
            int found = JsonSerializer.Deserialize<VersionOnly>(utf8, s_versionOptions)?.FormatVersion
                ?? throw new FormatException("the key 'format_version' is missing.");
            return found >= oldest && found <= newest
                ? JsonSerializer.Deserialize<T>(utf8, options)!
                : throw new FormatException(
                    $"format_version is {found}; this program reads version {(oldest == newest ? "" : $"{oldest} to ")}{newest}.");
        }
        catch (JsonException e)
        {
            throw new FormatException(Describe(e, utf8, $" (line {e.LineNumber + 1})"), e);
        }
    }

    /// <summary>An enum's value as files have it, such as <c>norm_then_select</c>.</summary>
    public static string ToWord<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());

    /// <summary>Says where the error is, which value is there and what is wrong with it, without the names of .NET types.</summary>
    /// <param name="error">The error of System.Text.Json.</param>
    /// <param name="json">The JSON that was read.</param>
    /// <param name="line">The line of the error, such as " (line 3)"; empty where the caller names it.</param>
    public static string Describe(JsonException error, ReadOnlySpan<byte> json, string line)
    {
        int end = error.Message.IndexOf(" Path: $", StringComparison.Ordinal);
        string message = end < 0 ? error.Message : error.Message[..end];
        if (error.InnerException is JsonException)
        {
            return $"not valid JSON{line}: {message}";
        }

        const string Missing = "was missing required properties including: ";
        string fault = message switch
        {
            _ when message.StartsWith("The JSON value could not be converted", StringComparison.Ordinal) =>
                "it has the wrong type or is out of range.",
            _ when message.Contains("could not be mapped to any .NET member", StringComparison.Ordinal) => "no such key is known.",
            _ when message.Contains("null values", StringComparison.Ordinal) => "it must not be null.",
            _ when message.StartsWith("Duplicate property", StringComparison.Ordinal) => "the key is there twice.",
            _ when message.IndexOf(Missing, StringComparison.Ordinal) is var at and >= 0 =>
                $"keys are missing: {message[(at + Missing.Length)..]}",
            _ => message,
        };
        string key = error.Path is { } path && path.StartsWith("$.", StringComparison.Ordinal) ? path[2..] : "the file";
        string value = ValueAt(json, error) is { } text ? $" is {text}" : string.Empty;
        return $"{key}{value}{line}: {fault}";
    }

    /// <summary>The value that ends where the error was found, as the file writes it; null where that is none.</summary>
    private static string? ValueAt(ReadOnlySpan<byte> json, JsonException error)
    {
        int offset = 0;
        for (long line = error.LineNumber ?? 0; line > 0; line--)
        {
            offset += json[offset..].IndexOf((byte)'\n') + 1;
        }

        offset += (int)(error.BytePositionInLine ?? 0);
        var reader = new Utf8JsonReader(json);
        while (reader.BytesConsumed < offset && reader.Read())
        {
        }

        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                return "an object";
            case JsonTokenType.StartArray:
                return "a list";
            case JsonTokenType.None or JsonTokenType.PropertyName or JsonTokenType.EndObject or JsonTokenType.EndArray:
                return null;
            default:
                string raw = Encoding.UTF8.GetString(json[(int)reader.TokenStartIndex..(int)reader.BytesConsumed]);
                return raw.Length <= LongestValue ? raw : $"{raw.AsSpan(0, LongestValue)}...";
        }
    }

    private sealed record VersionOnly(int? FormatVersion = null);

    /// <summary>Enums as words. Unlike the platform's own converter it takes exactly what is written, and says what that can be.</summary>
    private sealed class EnumWordConverter : JsonConverterFactory
    {
        public override bool CanConvert(Type typeToConvert) => typeToConvert.IsEnum;

        public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
            (JsonConverter)Activator.CreateInstance(typeof(Words<>).MakeGenericType(typeToConvert))!;

        private sealed class Words<T> : JsonConverter<T>
            where T : struct, Enum
        {
            private static readonly Dictionary<string, T> s_values = Enum.GetValues<T>().ToDictionary(ToWord, StringComparer.Ordinal);

            public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
                reader.TokenType == JsonTokenType.String && s_values.TryGetValue(reader.GetString()!, out var value)
                    ? value
                    : throw new JsonException($"it must be one of {string.Join(", ", s_values.Keys.Select(word => $"\"{word}\""))}.");

            public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) =>
                writer.WriteStringValue(ToWord(value));
        }
    }
}
