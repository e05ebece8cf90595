using System.Text.Json;

namespace DispLlm.Export;

/// <summary>Reads a folder's chat template, which GGUF holds as it is.</summary>
internal static class GgufChatTemplate
{
    private const string Key = "tokenizer.chat_template";

    /// <summary>Reads <c>chat_template.jinja</c>, or what <c>tokenizer_config.json</c> says: one template, or several by name.</summary>
    public static IReadOnlyList<GgufValue> Read(string folder)
    {
        string file = Path.Combine(folder, "chat_template.jinja");
        if (File.Exists(file))
        {
            return [new(Key, File.ReadAllText(file))];
        }

        using var document = JsonFiles.TryOpen(Path.Combine(folder, "tokenizer_config.json"), out string path);
        if (document is null || JsonFiles.Optional(document.RootElement, "chat_template") is not { } value)
        {
            return [];
        }

        if (value.ValueKind != JsonValueKind.Array)
        {
            return [new(Key, JsonFiles.Text(document.RootElement, "chat_template", path))];
        }

        (string Name, string Text)[] templates =
        [
            .. value.EnumerateArray().Select(entry => (JsonFiles.Text(entry, "name", path), JsonFiles.Text(entry, "template", path))),
        ];
        var named = templates.Where(template => template.Name != "default").ToArray();
        return
        [
            .. templates.Except(named).Take(1).Select(template => new GgufValue(Key, template.Text)),
            .. named.Select(template => new GgufValue($"{Key}.{template.Name}", template.Text)),
            new($"{Key}s", named.Select(template => template.Name).ToArray()),
        ];
    }
}
