using System.Text.Json;

namespace DispLlm.Tests.Text;

/// <summary>What the tokenizer tests share.</summary>
internal static class TokenizerFixtures
{
    // One folder for all, removed when the tests end.
    private static readonly Lazy<string> Scratch = new(() =>
    {
        string root = Directory.CreateTempSubdirectory("displlm-tokenizers-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(root, recursive: true);
        return root;
    });

    /// <summary>The sample's model folder, copied beside the tests: its tokenizer is this project's own.</summary>
    public static string SampleModel => Path.Combine(AppContext.BaseDirectory, "Fixtures", "tokenizers", "small-llama");

    /// <summary>Strings with the ids that the original tokenizer gives them.</summary>
    public static IEnumerable<(string Text, int[] Ids)> Expected(JsonElement cases)
    {
        foreach (var item in cases.EnumerateArray())
        {
            yield return (item.GetProperty("text").GetString()!, [.. item.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())]);
        }
    }

    /// <summary>Compares all strings and reports every difference at once.</summary>
    public static void AssertSame(TextTokenizer tokenizer, IEnumerable<(string Text, int[] Ids)> expected, int atLeast)
    {
        int count = 0;
        var differences = new List<string>();
        foreach (var (text, ids) in expected)
        {
            count++;
            var actual = tokenizer.Encode(text);
            if (!actual.SequenceEqual(ids))
            {
                differences.Add(
                    $"{JsonSerializer.Serialize(text)}\n  expected {string.Join(' ', ids)}\n  actual   {string.Join(' ', actual)}");
            }
        }

        Xunit.Assert.True(differences.Count == 0, $"{differences.Count} of {count} strings differ:\n{string.Join('\n', differences)}");
        Xunit.Assert.True(count >= atLeast, $"Only {count} strings were compared.");
    }

    /// <summary>A throw-away folder with the given files.</summary>
    public static string Folder(params (string Name, string Content)[] files)
    {
        string folder = Path.Combine(Scratch.Value, Guid.NewGuid().ToString("N"));
        Directory.CreateDirectory(folder);
        foreach (var (name, content) in files)
        {
            File.WriteAllText(Path.Combine(folder, name), content);
        }

        return folder;
    }

    /// <summary>Reads a tokenizer.json and removes it again: hundreds of them would take long to remove at the end.</summary>
    public static T Read<T>(string json, Func<string, T> read)
    {
        string folder = Folder(("tokenizer.json", json));
        try
        {
            return read(folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The smallest tokenizer.json there can be: 256 bytes, the given merges and nothing else.</summary>
    public static string ByteLevelJson(
        string preTokenizer = """{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}""",
        string addedTokens = "[]",
        string normalizer = "null",
        string modelKeys = "",
        string postProcessor = "null",
        params (string Left, string Right)[] merges)
    {
        var vocabulary = new Dictionary<string, int>();
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            bool isPrintable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            vocabulary.Add(((char)(isPrintable ? b : next++)).ToString(), b);
        }

        foreach (var (left, right) in merges)
        {
            vocabulary.TryAdd(left + right, vocabulary.Count);
        }

        string list = JsonSerializer.Serialize(merges.Select(m => new[] { m.Left, m.Right }));
        return $$"""
            {"version":"1.0","added_tokens":{{addedTokens}},"normalizer":{{normalizer}},"pre_tokenizer":{{preTokenizer}},
             "post_processor":{{postProcessor}},
             "model":{"type":"BPE",{{modelKeys}}"vocab":{{JsonSerializer.Serialize(vocabulary)}},"merges":{{list}} } }
            """;
    }
}
