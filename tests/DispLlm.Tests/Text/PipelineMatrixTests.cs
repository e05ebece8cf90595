using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Every option of tokenizer.json alone, and random combinations, compared with Hugging Face's tokenizers.</summary>
[Collection(nameof(PipelineMatrixTests))]
public sealed class PipelineMatrixTests
{
    private const int Combinations = 200;

    [Fact]
    public void Normalizers() => Each(PipelineOptions.Normalizers, option => PipelineOptions.Build(normalizer: option));

    [Fact]
    public void Pre_tokenizers() => Each(PipelineOptions.PreTokenizers, option => PipelineOptions.Build(preTokenizer: option));

    [Fact]
    public void Decoders() => Each(PipelineOptions.Decoders, option => PipelineOptions.Build(decoder: option));

    [Fact]
    public void Post_processors() => Each(PipelineOptions.PostProcessors, option => PipelineOptions.Build(postProcessor: option));

    [Fact]
    public void Models() => Each(PipelineOptions.Models, option => PipelineOptions.Build(model: option));

    [Fact]
    public void Added_tokens() => Each(PipelineOptions.AddedTokens, option => PipelineOptions.Build(added: option));

    [Fact]
    public void Normalizers_before_a_first_metaspace() => Each(PipelineOptions.Normalizers, option => PipelineOptions.Build(
        normalizer: option, preTokenizer: """{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}"""));

    [Fact]
    [Trait("Category", "Slow")]
    public void Random_combinations()
    {
        var random = new Random(5);
        int compared = 0;
        for (int i = 0; i < Combinations; i++)
        {
            string Pick(string[] options) => options[random.Next(options.Length)];
            string preTokenizer = Pick(PipelineOptions.PreTokenizers);
            string decoder = Pick(PipelineOptions.Decoders);
            string json = PipelineOptions.Build(
                Pick(PipelineOptions.Normalizers), preTokenizer, decoder, Pick(PipelineOptions.PostProcessors),
                Pick(PipelineOptions.Models), Pick(PipelineOptions.AddedTokens));

            // Without a decoder, bytes become a text all the same here, and a token that normalization removes is refused.
            bool hasOwnDecoder = decoder == "null" && preTokenizer.Contains("ByteLevel", StringComparison.Ordinal);
            if (!hasOwnDecoder && !IsRefused(json))
            {
                Compare(json, 100, seed: i);
                compared++;
            }
        }

        Assert.True(compared > Combinations * 0.9, $"Only {compared} combinations were compared.");
    }

    private static bool IsRefused(string json)
    {
        try
        {
            TokenizerFixtures.Read(json, TextTokenizer.FromFolder);
            return false;
        }
        catch (TokenizerException e) when (e.Message.Contains("normalization leaves nothing", StringComparison.Ordinal))
        {
            return true;
        }
    }

    private static void Each(string[] options, Func<string, string> build)
    {
        foreach (string option in options)
        {
            Compare(build(option), 400, seed: 3);
        }
    }

    private static void Compare(string json, int count, int seed)
    {
        try
        {
            HuggingFaceTokenizer.AssertSame(json, PipelineOptions.Texts(count, seed));
        }
        catch (Exception e) when (e is Xunit.Sdk.XunitException or TokenizerException)
        {
            Assert.Fail($"{e.Message}\n{json[..Math.Min(json.Length, 1200)]}");
        }
    }
}
