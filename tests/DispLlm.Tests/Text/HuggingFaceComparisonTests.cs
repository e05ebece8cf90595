using System.Text.Json.Nodes;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Ten thousand random strings for every tokenizer, compared with Hugging Face's own.</summary>
[Collection(nameof(HuggingFaceComparisonTests))]
[Trait("Category", "Slow")]
public sealed class HuggingFaceComparisonTests
{
    private const int Strings = 10_000;

    public static IEnumerable<string> Kinds => TokenizerKindTests.Kinds.Select(row => row.Data);

    public static TheoryData<string> Folders =>
    [
        .. Kinds.Select(kind => $"tokenizers/kinds/{kind}"),
        "tokenizers/phi", "models/small-opt", "models/small-phi", "models/SmolLM2-135M-Instruct",
    ];

    [Theory]
    [MemberData(nameof(Folders))]
    public void Random_strings_have_the_same_ids_and_texts(string folder)
    {
        string json = File.ReadAllText(SharedData.Path([.. folder.Split('/'), "tokenizer.json"]));
        string[] added = [.. JsonNode.Parse(json)!["added_tokens"]!.AsArray().Select(token => (string)token!["content"]!)];
        HuggingFaceTokenizer.AssertSame(json, RandomTexts.Create(Strings, seed: 29, added));
    }

    /// <summary>Hugging Face reads a SentencePiece model as merges, which its scores give.</summary>
    [Theory]
    [InlineData("tokenizers/llama")]
    [InlineData("models/small-llama")]
    public void A_sentencepiece_model_has_the_ids_of_its_conversion(string folder)
    {
        string path = SharedData.Path(folder.Split('/'));
        var pieces = SentencePieceModel.Read(Path.Combine(path, "tokenizer.model")).Pieces;
        var tokenizer = TextTokenizer.FromFolder(path);
        using var original = new HuggingFaceTokenizer(SentencePieceConversion.ToTokenizerJson(pieces));
        foreach (string text in RandomTexts.Create(Strings, seed: 30))
        {
            // Its control pieces are found in the text; those of a bare tokenizer.model are not.
            if (!text.Contains("<s>", StringComparison.Ordinal) && !text.Contains("</s>", StringComparison.Ordinal)
                && !text.Contains("<unk>", StringComparison.Ordinal))
            {
                Assert.Equal(original.Encode(text, addSpecialTokens: true), tokenizer.Encode(text, addSpecialTokens: true));
            }
        }
    }
}
