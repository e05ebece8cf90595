using System.Text.Json;

namespace DispLlm;

/// <summary>The tokens that a tokenizer puts before and after a text: the "post_processor" of tokenizer.json. An immutable value.</summary>
internal sealed record TokenTemplate(IReadOnlyList<int> Before, IReadOnlyList<int> After)
{
    public static TokenTemplate None { get; } = new([], []);

    /// <summary>Reads a post-processor.</summary>
    /// <param name="description">The post-processor, if there is one.</param>
    /// <param name="findId">The id of a token by its name, for a template that gives none.</param>
    public static TokenTemplate Read(TokenizerPart? description, Func<string, int?> findId)
    {
        if (description is not { } part)
        {
            return None;
        }

        switch (part.Type)
        {
            case "ByteLevel":
                // Only says where tokens stand in the text.
                return None;
            case "Sequence":
                var adding = part.Parts("processors").Select(inner => Read(inner, findId)).Where(template => template != None).ToArray();
                return adding.Length switch
                {
                    0 => None,
                    1 => adding[0],
                    _ => throw part.Unsupported("processors"), // The second one would take the tokens of the first for a text.
                };
            case "TemplateProcessing":
                return ReadTemplate(part, findId);
            case "BertProcessing" or "RobertaProcessing":
                return new TokenTemplate([ReadPair(part, "cls")], [ReadPair(part, "sep")]);
            default:
                throw part.Unsupported("type");
        }
    }

    private static TokenTemplate ReadTemplate(TokenizerPart part, Func<string, int?> findId)
    {
        List<int> before = [], after = [];
        bool isPastText = false;
        foreach (var piece in part.Parts("single"))
        {
            if (TokenizerPart.Find(piece.Value, "SpecialToken", part.Path) is { } special)
            {
                (isPastText ? after : before).AddRange(ReadIds(part, special.Text("id"), findId));
            }
            else if (isPastText || TokenizerPart.Find(piece.Value, "Sequence", part.Path)?.Text("id") != "A")
            {
                throw part.Unsupported("single");
            }
            else
            {
                isPastText = true;
            }
        }

        return isPastText ? new TokenTemplate(before, after) : throw part.Unsupported("single");
    }

    private static IEnumerable<int> ReadIds(TokenizerPart part, string name, Func<string, int?> findId)
    {
        if (part.Value.TryGetProperty("special_tokens", out var tokens) && tokens.ValueKind == JsonValueKind.Object
            && tokens.TryGetProperty(name, out var token) && token.TryGetProperty("ids", out var ids)
            && ids.ValueKind == JsonValueKind.Array)
        {
            return ids.EnumerateArray().Select(id => JsonFiles.Integer(id, part.Path, $"{part.Key}.special_tokens.{name}.ids"));
        }

        return [findId(name) ?? throw new TokenizerException(
            $"'{part.Path}': neither {part.Key}.special_tokens nor the vocabulary has an id for '{name}', which the template names.")];
    }

    private static int ReadPair(TokenizerPart part, string key) =>
        JsonFiles.Optional(part.Value, key) is { ValueKind: JsonValueKind.Array } pair && pair.GetArrayLength() == 2
            ? JsonFiles.Integer(pair[1], part.Path, $"{part.Key}.{key}")
            : throw part.Unsupported(key);
}
