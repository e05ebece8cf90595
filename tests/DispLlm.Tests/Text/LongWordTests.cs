using System.Diagnostics;
using System.Text;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>A word of a megabyte takes about as long as a megabyte of words.</summary>
[Collection(nameof(LongWordTests))]
public sealed class LongWordTests
{
    private static readonly string s_word = CreateWord();

    [Fact]
    public void A_megabyte_without_a_space_is_no_square_by_bytes()
    {
        (string, string)[] merges = [.. from left in "etaoinsh" from right in "etaoinsh" select ($"{left}", $"{right}"),
            .. from left in "etao" from right in "insh" select ($"{left}{right}", $"{right}{left}")];
        Measure(TextTokenizer.FromFolder(TokenizerFixtures.Folder(("tokenizer.json", TokenizerFixtures.ByteLevelJson(merges: merges)))));
    }

    [Fact]
    public void A_megabyte_without_a_space_is_no_square_by_pieces() =>
        Measure(TextTokenizer.FromFolder(TokenizerFixtures.SampleModel));

    private static void Measure(TextTokenizer tokenizer)
    {
        tokenizer.Encode(s_word[..1000]);
        var fastest = TimeSpan.MaxValue;
        for (int i = 0; i < 3; i++)
        {
            var watch = Stopwatch.StartNew();
            tokenizer.Encode(s_word);
            fastest = watch.Elapsed < fastest ? watch.Elapsed : fastest;
        }

        // It takes a third of a second where nothing else runs; a square of a million steps would take hours.
        Assert.True(fastest < TimeSpan.FromSeconds(5), $"It took {fastest}.");
    }

    private static string CreateWord()
    {
        var random = new Random(1);
        var word = new StringBuilder();
        while (word.Length < 1_000_000)
        {
            word.Append("etaoinshrdlu"[random.Next(12)]);
        }

        return word.ToString();
    }
}
