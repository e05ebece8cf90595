using System.Text.Json;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>The kinds of tokenizer.json that published decoder models have, string by string.</summary>
[Collection(nameof(TokenizerKindTests))]
public sealed class TokenizerKindTests
{
    public static TheoryData<string> Kinds =>
    [
        "deepseek", "falcon", "gemma", "gpt-4o", "gpt-neox", "llama-2", "llama-3", "metaspace-always", "mistral-metaspace", "phi-3", "qwen",
        "starcoder", "tekken",
    ];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Ids_and_texts_are_the_originals(string kind)
    {
        var tokenizer = TextTokenizer.FromFolder(SharedData.Path("tokenizers", "kinds", kind));
        using var cases = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("tokenizers", "kinds", kind, "expected.json")));
        var differences = new List<string>();
        foreach (var entry in cases.RootElement.EnumerateArray())
        {
            string text = entry.GetProperty("text").GetString()!;
            int[] ids = Ids(entry.GetProperty("ids"));
            Compare("ids", string.Join(' ', ids), string.Join(' ', tokenizer.Encode(text)));
            Compare("with special", string.Join(' ', Ids(entry.GetProperty("with_special"))),
                string.Join(' ', tokenizer.Encode(text, addSpecialTokens: true)));
            Compare("decoded", entry.GetProperty("decoded").GetString()!, tokenizer.Decode(ids));
            Compare("decoded, skipping special", entry.GetProperty("decoded_skipping_special").GetString()!,
                tokenizer.Decode(ids, skipSpecialTokens: true));

            void Compare(string what, string expected, string actual)
            {
                if (expected != actual)
                {
                    differences.Add($"{JsonSerializer.Serialize(text)} {what}\n  expected {expected}\n  actual   {actual}");
                }
            }
        }

        Assert.True(cases.RootElement.GetArrayLength() >= 244);
        Assert.True(differences.Count == 0, $"{differences.Count} differences:\n{string.Join('\n', differences.Take(10))}");
    }

    private static int[] Ids(JsonElement ids) => [.. ids.EnumerateArray().Select(id => id.GetInt32())];
}
