using System.Diagnostics;
using System.Text.Json;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Ids are those of the models' original tokenizers, string by string.</summary>
[Collection(nameof(OriginalIdsTests))]
public sealed class OriginalIdsTests
{
    [Fact]
    public void The_samples_tokenizer_gives_the_ids_that_sentencepiece_gives()
    {
        using var cases =
            JsonDocument.Parse(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "Fixtures", "tokenizers", "small-llama.json")));
        var tokenizer = TextTokenizer.FromFolder(TokenizerFixtures.SampleModel);
        TokenizerFixtures.AssertSame(tokenizer, TokenizerFixtures.Expected(cases.RootElement), atLeast: 90);
    }

    [Theory]
    [InlineData("tokenizers/llama")]
    [InlineData("tokenizers/phi")]
    [InlineData("models/small-llama")]
    [InlineData("models/small-opt")]
    [InlineData("models/small-phi")]
    [InlineData("models/SmolLM2-135M-Instruct")]
    public void Every_string_has_the_original_ids(string folder)
    {
        using var cases = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("tokenizers", "expected.json")));
        var tokenizer = TextTokenizer.FromFolder(SharedData.Path(folder.Split('/')));
        TokenizerFixtures.AssertSame(tokenizer, TokenizerFixtures.Expected(cases.RootElement.GetProperty(folder)), atLeast: 101);
    }

    [Theory]
    [InlineData("tokenizers/phi")]
    [InlineData("models/small-phi")]
    public void The_two_old_files_give_the_same_ids_as_the_one_new_file(string folder)
    {
        string source = SharedData.Path(folder.Split('/'));
        string copy = TokenizerFixtures.Folder();
        foreach (string name in (string[])["vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
            "tokenizer_config.json"])
        {
            if (File.Exists(Path.Combine(source, name)))
            {
                File.Copy(Path.Combine(source, name), Path.Combine(copy, name));
            }
        }

        using var cases = JsonDocument.Parse(File.ReadAllBytes(SharedData.Path("tokenizers", "expected.json")));
        TokenizerFixtures.AssertSame(TextTokenizer.FromFolder(copy), TokenizerFixtures.Expected(cases.RootElement.GetProperty(folder)),
            atLeast: 101);
    }

    [Theory]
    [InlineData("tokenizers/llama")]
    [InlineData("tokenizers/phi")]
    [InlineData("models/SmolLM2-135M-Instruct")]
    public void A_megabyte_takes_seconds_and_comes_back_as_it_was(string folder)
    {
        var tokenizer = TextTokenizer.FromFolder(SharedData.Path(folder.Split('/')));
        string text = File.ReadAllText(SharedData.Path("data", "gutenberg", "train.txt"))[..1_000_000];
        var watch = Stopwatch.StartNew();
        var ids = tokenizer.Encode(text);

        // A hundred times what it takes: the point is that it does not grow with the square.
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), $"It took {watch.Elapsed}.");
        Assert.Equal(text, tokenizer.Decode(ids));
    }

    [Theory]
    [InlineData(' ')]
    [InlineData('a')]
    [InlineData('=')]
    [InlineData('\n')]
    public void A_long_run_of_one_character_takes_seconds(char character)
    {
        var tokenizer = TextTokenizer.FromFolder(SharedData.Path("models", "SmolLM2-135M-Instruct"));
        string text = new(character, 50_000);
        var watch = Stopwatch.StartNew();
        Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text)));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), $"It took {watch.Elapsed}.");
    }
}
