using System.Text.Json.Nodes;
using Tokenizers.DotNet;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>
/// Hugging Face's own tokenizers. The package always adds special tokens to a text and skips them when it decodes, so the other way round
/// takes the same file without a template and with no token special. Skips the test on a platform without its native library.
/// </summary>
internal sealed class HuggingFaceTokenizer : IDisposable
{
    private readonly Tokenizer _whole;
    private readonly Tokenizer _plain;

    public HuggingFaceTokenizer(string json)
    {
        var plain = JsonNode.Parse(json)!;
        plain["post_processor"] = null;
        foreach (var token in plain["added_tokens"]!.AsArray())
        {
            token!["special"] = false;
        }

        _whole = Load(json);
        _plain = Load(plain.ToJsonString());
    }

    public int[] Encode(string text, bool addSpecialTokens) => [.. (addSpecialTokens ? _whole : _plain).Encode(text).Select(id => (int)id)];

    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens) =>
        (skipSpecialTokens ? _whole : _plain).Decode([.. ids.Select(id => (uint)id)]);

    /// <summary>What this library and Hugging Face's make of a text; empty where they agree.</summary>
    public IEnumerable<string> Differences(TextTokenizer tokenizer, string text)
    {
        foreach (bool special in (bool[])[false, true])
        {
            int[] expected = Encode(text, special);
            var actual = tokenizer.Encode(text, special);
            if (!actual.SequenceEqual(expected))
            {
                yield return $"{Show(text)} special {special}\n  expected {string.Join(' ', expected)}\n"
                    + $"  actual   {string.Join(' ', actual)}";
                continue;
            }

            string decoded = Decode(expected, special);
            string ours = tokenizer.Decode(expected, special);
            if (ours != decoded)
            {
                yield return $"{Show(text)} decoded, skipping {special}\n  expected {Show(decoded)}\n  actual   {Show(ours)}";
            }
        }
    }

    /// <summary>Asserts that the two agree on every text.</summary>
    public static void AssertSame(string json, IEnumerable<string> texts, TextTokenizer? tokenizer = null)
    {
        tokenizer ??= TokenizerFixtures.Read(json, TextTokenizer.FromFolder);
        using var original = new HuggingFaceTokenizer(json);
        string[] differences = [.. texts.SelectMany(text => original.Differences(tokenizer, text)).Take(5)];
        Assert.True(differences.Length == 0, string.Join('\n', differences));
    }

    public void Dispose()
    {
        _whole.Dispose();
        _plain.Dispose();
    }

    private static Tokenizer Load(string json)
    {
        try
        {
            return TokenizerFixtures.Read(json, folder => new Tokenizer(Path.Combine(folder, "tokenizer.json")));
        }
        catch (Exception e) when (e is DllNotFoundException or TypeInitializationException or BadImageFormatException)
        {
            Assert.Skip($"Hugging Face's tokenizers have no native library for this platform: {e.Message}");
            throw;
        }
    }

    private static string Show(string text) => System.Text.Json.JsonSerializer.Serialize(text);
}
