using System.Text.Json;
using System.Text.Unicode;

namespace DispLlm.Checkpoints;

/// <summary>Reads the JSON files of a checkpoint: any keys are allowed, but none twice.</summary>
internal static class StrictJson
{
    public static JsonElement LoadObject(string path, out string full)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        full = Path.GetFullPath(path);
        try
        {
            return ParseObject(File.ReadAllBytes(full), full);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException(full, null, "there is no such file.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(full, null, $"the file cannot be read: {e.Message}", e);
        }
    }

    public static JsonElement ParseObject(ReadOnlyMemory<byte> json, string file)
    {
        // Some editors write a byte-order mark; it carries no meaning.
        if (json.Span.StartsWith("\uFEFF"u8))
        {
            json = json[3..];
        }

        if (GitLfsPointer.IsPointer(json.Span))
        {
            throw new CheckpointException(file, null, GitLfsPointer.Remedy("file"));
        }

        if (!Utf8.IsValid(json.Span))
        {
            throw new CheckpointException(file, null, "the file is not valid UTF-8. Save it as UTF-8, or fetch it again.");
        }

        try
        {
            using var document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new CheckpointException(file, null, $"the file holds a JSON {document.RootElement.ValueKind} instead of an object.");
            }

            Check(document.RootElement, "", file);
            return document.RootElement.Clone();
        }
        catch (JsonException e)
        {
            throw new CheckpointException(file, null, $"line {e.LineNumber + 1} is not valid JSON: {e.Message}", e);
        }
        catch (InvalidOperationException e)
        {
            throw new CheckpointException(file, null, $"a text in the file is not valid Unicode: {e.Message}", e);
        }
    }

    /// <summary>Refuses keys given twice, at any depth, and strings that are not valid Unicode, such as half a surrogate pair.</summary>
    private static void Check(JsonElement element, string prefix, string file)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                var names = new HashSet<string>(StringComparer.Ordinal);
                foreach (var property in element.EnumerateObject())
                {
                    string key = prefix + property.Name;
                    if (!names.Add(property.Name))
                    {
                        throw new CheckpointException(file, key, "the key is given twice; which one counts is undefined. Remove one.");
                    }

                    Check(property.Value, key + ".", file);
                }

                break;
            case JsonValueKind.Array:
                foreach (var item in element.EnumerateArray())
                {
                    Check(item, prefix, file);
                }

                break;
            case JsonValueKind.String:
                _ = element.GetString();
                break;
        }
    }
}
