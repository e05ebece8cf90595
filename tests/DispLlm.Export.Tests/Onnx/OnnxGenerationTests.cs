using System.Text.Json.Nodes;
using DispLlm.Export;
using Microsoft.ML.OnnxRuntimeGenAI;

namespace DispLlm.Tests;

/// <summary>ONNX Runtime GenAI continues texts as <see cref="TextGenerator"/> does.</summary>
public sealed class OnnxGenerationTests
{
    private const int Count = 32;

    private static readonly string[] s_prompts = ["The captain looked at the", "Once upon a time there was", "In the beginning"];

    [Theory]
    [InlineData("small-llama")]
    [InlineData("small-opt")]
    [InlineData("small-phi")]
    public async Task Greedy_tokens_of_a_dense_and_a_half_kept_model(string name)
    {
        using var folder = new TemporaryFolder();
        string dense = name == "small-llama" ? Fixture.GetFolder(name) : SharedData.Path("models", name);
        await AssertSameTokensAsync(dense, folder.Below("dense"));
        await AssertSameTokensAsync(await HalfAsync(dense, folder.Below("half")), folder.Below("half.onnx"));
    }

    [Fact]
    [Trait("Category", "Slow")]
    public async Task Greedy_tokens_of_half_of_SmolLM2()
    {
        using var folder = new TemporaryFolder();
        string dense = Path.GetDirectoryName(SharedData.Path("models", "SmolLM2-135M-Instruct", "model.safetensors"))!;
        await AssertSameTokensAsync(await HalfAsync(dense, folder.Below("half")), folder.Below("half.onnx"));
    }

    /// <summary>Prompts of unequal length in one batch, which ONNX Runtime GenAI pads after the shorter one.</summary>
    [Theory]
    [InlineData("small-llama")]
    [InlineData("small-opt")]
    public async Task A_batch_continues_each_prompt_as_it_is_alone(string name)
    {
        using var folder = new TemporaryFolder();
        string dense = name == "small-llama" ? Fixture.GetFolder(name) : SharedData.Path("models", name);
        await OnnxExport.WriteAsync(dense, folder.Below("onnx"));
        using var model = new Model(folder.Below("onnx"));
        using var tokenizer = new Tokenizer(model);
        string[] prompts = ["The captain looked at the sea and said", "Once upon"];
        using var encoded = tokenizer.EncodeBatch(prompts);
        using var parameters = new GeneratorParams(model);
        parameters.SetSearchOption("batch_size", prompts.Length);
        parameters.SetSearchOption("max_length", 24);
        using var generator = new Generator(model, parameters);
        generator.AppendTokenSequences(encoded);
        while (!generator.IsDone())
        {
            generator.GenerateNextToken();
        }

        for (int row = 0; row < prompts.Length; row++)
        {
            using var alone = tokenizer.Encode(prompts[row]);
            int[] prompt = [.. alone[0]];
            int[] sequence = [.. generator.GetSequence((ulong)row)], expected = GenAiFolder.Generate(model, prompt, 8);
            int start = encoded[0].Length;
            Assert.Equal(expected, sequence.Skip(start).Take(8));
        }
    }

    /// <summary>The tokenizer.json that is made of a SentencePiece model; the texts are those that the library is held to.</summary>
    [Fact]
    public async Task A_SentencePiece_model_encodes_texts_as_here()
    {
        using var folder = new TemporaryFolder();
        string checkpoint = Fixture.GetFolder("small-llama");
        await OnnxExport.WriteAsync(checkpoint, folder.Below("onnx"));
        var tokenizer = TextTokenizer.FromFolder(checkpoint);
        using var model = new Model(folder.Below("onnx"));
        using var exported = new Tokenizer(model);
        string path = Path.Combine(AppContext.BaseDirectory, "Fixtures", "tokenizers", "small-llama.json");

        // ONNX Runtime GenAI's texts end at a null character; it splits runs of spaces before it merges, and reads names of special tokens.
        string[] differs = ["\0", "  ", "<s>", "</s>", "<unk>"];
        foreach (string text in JsonNode.Parse(File.ReadAllText(path))!.AsArray().Select(entry => entry!["text"]!.GetValue<string>())
            .Where(text => !differs.Any(part => text.Contains(part, StringComparison.Ordinal))))
        {
            using var encoded = exported.Encode(text);
            int[] actual = [.. encoded[0]];
            Assert.True(tokenizer.Encode(text).SequenceEqual(actual), $"'{text}': {string.Join(' ', actual)}");
        }
    }

    internal static async Task<string> HalfAsync(string dense, string target)
    {
        using var model = PrunableModel.Load(dense);
        var result = await PruningPipeline.For(model).WithPruningRatio(0.5).WithStrategy(new MagnitudeSelection()).RunAsync();
        await result.SaveAsync(target);
        return target;
    }

    private static async Task AssertSameTokensAsync(string checkpoint, string target)
    {
        await OnnxExport.WriteAsync(checkpoint, target);
        using var model = PrunableModel.Load(checkpoint);
        var tokenizer = TextTokenizer.FromFolder(checkpoint);
        using var exported = new Model(target);
        using var itsTokenizer = new Tokenizer(exported);
        foreach (string text in s_prompts)
        {
            int[] prompt = [.. tokenizer.Encode(text)];
            using var encoded = itsTokenizer.Encode(text);
            Assert.Equal(prompt, encoded[0].ToArray());
            var options = new GenerationOptions { MaxNewTokens = Count, StopTokens = tokenizer.StopTokenIds };
            var expected = TextGenerator.Generate(model, prompt, options);
            var actual = GenAiFolder.Generate(exported, prompt, Count);
            Assert.Equal(expected, actual.TakeWhile(id => !tokenizer.StopTokenIds.Contains(id)));
        }
    }
}
