using System.Text.Json;

namespace DispLlm.Export;

/// <summary>The stages of a tokenizer.json one after another, for those who must know what each does.</summary>
internal static class GgufTokenizerStages
{
    /// <summary>What to do where llama.cpp has no such tokenizer.</summary>
    public const string WithoutTokenizer =
        "Export to onnx, or remove the tokenizer's files from a copy of the folder to export a model that takes ids.";

    /// <summary>The steps of the normalizer.</summary>
    public static IEnumerable<TokenizerPart> Normalizers(JsonElement root, string path) =>
        Flatten(TokenizerPart.Find(root, "normalizer", path), "normalizers");

    /// <summary>The steps of the pre-tokenizer.</summary>
    public static IEnumerable<TokenizerPart> PreTokenizers(JsonElement root, string path) =>
        Flatten(TokenizerPart.Find(root, "pre_tokenizer", path), "pretokenizers");

    /// <summary>
    /// Notes a normalization of Unicode, which llama.cpp leaves out: most texts are normalized already. Any other step changes many texts
    /// and is refused.
    /// </summary>
    public static void NoteOrRefuse(TokenizerPart normalizer, ICollection<string> notes)
    {
        if (normalizer.Type is not ("NFC" or "NFKC"))
        {
            throw Refuse(normalizer, "normalizer");
        }

        notes.Add($"llama.cpp does not normalize text, which the tokenizer does ({normalizer.Type}): texts that are not normalized, for " +
            "instance with accents as characters of their own, get other ids there. Normalize them before.");
    }

    /// <summary>The error for a stage that llama.cpp has nothing for.</summary>
    public static ExportException Refuse(TokenizerPart part, string stage)
    {
        string text = part.Value.GetRawText();
        return new ExportException("gguf", stage,
            $"{part.Name} is {(text.Length > 300 ? text[..300] + "..." : text)}, and llama.cpp has no tokenizer that does this: ids " +
            $"would differ from the model's. {WithoutTokenizer}");
    }

    private static IEnumerable<TokenizerPart> Flatten(TokenizerPart? part, string list) => part switch
    {
        null => [],
        { Type: "Sequence" } sequence => sequence.Parts(list).SelectMany(inner => Flatten(inner, list)),
        { } single => [single],
    };
}
