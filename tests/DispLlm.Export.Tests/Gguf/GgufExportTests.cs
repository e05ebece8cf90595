using DispLlm.Export;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>The export as a whole: the same text as the library's, and a file that appears whole or not at all.</summary>
public sealed class GgufExportTests
{
    private static readonly string[] s_prompts = ["Once upon a time", "The little dog", "One day, a girl named Lily"];

    [Theory]
    [InlineData(GgufType.F32)]
    [InlineData(GgufType.F16)]
    public async Task Small_llama_continues_prompts_as_the_library_does(GgufType type) =>
        await AssertSameTokens(Fixture.GetFolder("small-llama"), type);

    [Theory]
    [InlineData("paper")]
    [InlineData("blocks-1")]
    [InlineData("stock")]
    public async Task Pruned_small_llama_continues_prompts_as_the_library_does(string plan) =>
        await AssertSameTokens(Fixture.GetFolder("small-llama"), GgufType.F32, plan);

    [Fact]
    public async Task Small_phi_continues_prompts_as_the_library_does() =>
        await AssertSameTokens(SharedData.Path("models", "small-phi"), GgufType.F32);

    [Theory]
    [Trait("Category", "Slow")]
    [InlineData(GgufType.F32)]
    [InlineData(GgufType.F16)]
    public async Task Half_kept_SmolLM2_continues_prompts_as_the_library_does(GgufType type)
    {
        string weights = SharedData.Path("models", "SmolLM2-135M-Instruct", "model.safetensors");
        await AssertSameTokens(Path.GetDirectoryName(weights)!, type, "paper");
    }

    [Theory]
    [InlineData(GgufType.BF16, 0.02)]
    [InlineData(GgufType.F16, 2e-3)]
    [InlineData(GgufType.Q8_0, 0.02)]
    [InlineData(GgufType.Q4_0, 0.3)]
    public async Task Logits_of_smaller_types_are_near(GgufType type, double tolerance)
    {
        using var folder = new TemporaryFolder();
        string source = Fixture.GetFolder("small-llama"), target = folder.Below("model.gguf");
        await GgufExport.WriteAsync(source, target, new() { Type = type });
        using var model = PrunableModel.Load(source);
        using var gguf = new GgufModel(target);
        using var tokens = arange(3, 67).view(1, -1);
        GgufComparison.AssertSame(model, gguf, tokens, tolerance);
    }

    [Fact]
    public async Task Rows_that_are_no_whole_blocks_are_F16()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("llama-mha");
        string target = folder.Below("model.gguf");
        var result = await GgufExport.WriteAsync(fixture.Folder, target, new() { Type = GgufType.Q8_0 });
        Assert.Contains(result.Notes, note => note.StartsWith("2 matrices are F16", StringComparison.Ordinal));
        using var model = PrunableModel.Load(fixture.Folder);
        using var gguf = new GgufModel(target);
        GgufComparison.AssertSame(model, gguf, fixture.Expected("input_ids"), 0.05);
    }

    /// <summary>Zeros up to whole blocks keep a pruned MLP in its type.</summary>
    [Theory]
    [InlineData(GgufType.Q8_0, 0.02)]
    [InlineData(GgufType.Q4_0, 0.4)]
    public async Task Pruned_matrices_are_whole_blocks(GgufType type, double tolerance)
    {
        using var folder = new TemporaryFolder();
        string dense = Fixture.GetFolder("small-llama"), pruned = folder.Below("pruned"), target = folder.Below("model.gguf");
        using (var whole = PrunableModel.Load(dense))
        {
            await new PrunedModelBuilder(dense, GgufPlans.Create(whole, "blocks-1")).BuildAsync(pruned);
        }

        var result = await GgufExport.WriteAsync(pruned, target, new() { Type = type });
        Assert.Contains(
            result.Notes, note => note.StartsWith("S4: MLPs are filled with zeros to multiples of 32", StringComparison.Ordinal));
        Assert.DoesNotContain(result.Notes, note => note.Contains("are F16", StringComparison.Ordinal));
        using var model = PrunableModel.Load(pruned);
        using var gguf = new GgufModel(target);
        using var tokens = arange(3, 67).view(1, -1);
        GgufComparison.AssertSame(model, gguf, tokens, tolerance);
    }

    [Fact]
    public async Task The_same_checkpoint_gives_the_same_bytes()
    {
        using var folder = new TemporaryFolder();
        foreach (string name in new[] { "a", "b" })
        {
            var result = await GgufExport.WriteAsync(
                Fixture.GetFolder("gpt2"), folder.Below(name), new() { Type = GgufType.Q8_0, Name = "a model" });
            Assert.Equal((folder.Below(name), new FileInfo(folder.Below(name)).Length), (result.Path, result.Bytes));
        }

        Assert.Equal(File.ReadAllBytes(folder.Below("a")), File.ReadAllBytes(folder.Below("b")));
        using var gguf = new GgufModel(folder.Below("a"));
        Assert.Equal(("a model", "7"), (gguf.Metadata["general.name"], gguf.Metadata["general.file_type"]));
    }

    [Fact]
    public async Task Every_tensor_is_reported_and_cancelling_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        var reports = new List<ExportProgress>();
        string source = Fixture.GetFolder("llama-mha");
        await GgufExport.WriteAsync(source, folder.Below("whole.gguf"), null, new Collected(reports.Add));
        Assert.Equal(Enumerable.Range(1, reports.Count), reports.Select(report => report.Written));
        Assert.All(reports, report => Assert.Equal(reports.Count, report.Total));

        using var cancellation = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => GgufExport.WriteAsync(
            source, folder.Below("part.gguf"), null, new Collected(_ => cancellation.Cancel()), cancellation.Token));
        Assert.Equal([folder.Below("whole.gguf")], Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task A_target_that_exists_is_kept()
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("model.gguf");
        await File.WriteAllTextAsync(target, "mine");
        foreach (string taken in new[] { target, folder.Path })
        {
            var error = await Assert.ThrowsAsync<DispLlmException>(() => GgufExport.WriteAsync(Fixture.GetFolder("llama-mha"), taken));
            Assert.Contains(taken, error.Message, StringComparison.Ordinal);
        }

        Assert.Equal("mine", await File.ReadAllTextAsync(target));
    }

    [Fact]
    public async Task Options_that_make_no_sense_are_refused()
    {
        using var folder = new TemporaryFolder();
        string source = Fixture.GetFolder("llama-mha"), target = folder.Below("model.gguf");
        var type = await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() =>
            GgufExport.WriteAsync(source, target, new() { Type = (GgufType)99 }));
        Assert.Contains("99", type.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ArgumentException>(() => GgufExport.WriteAsync(source, target, new() { Name = " " }));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task A_number_beyond_F16_names_its_tensor_and_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        string source = folder.Below("source"), target = folder.Below("model.gguf");
        GgufComparison.Vary(Fixture.GetFolder("llama-mha"), source, [], change: (name, tensor) =>
            name.Contains("1.mlp.up_proj", StringComparison.Ordinal) ? tensor.fill_(1e6) : tensor);
        var error = await Assert.ThrowsAsync<ExportException>(() => GgufExport.WriteAsync(source, target));
        Assert.Equal("blk.1.ffn_up.weight", error.Key);
        Assert.Equal([source], Directory.GetFileSystemEntries(folder.Path));
        await GgufExport.WriteAsync(source, target, new() { Type = GgufType.BF16 });
    }

    private static async Task AssertSameTokens(string dense, GgufType type, string? plan = null)
    {
        using var folder = new TemporaryFolder();
        string source = dense, target = folder.Below("model.gguf");
        if (plan is not null)
        {
            using var whole = PrunableModel.Load(dense);
            source = folder.Below("pruned");
            await new PrunedModelBuilder(dense, GgufPlans.Create(whole, plan)).BuildAsync(source);
        }

        await GgufExport.WriteAsync(source, target, new() { Type = type });
        using var model = PrunableModel.Load(source);
        using var gguf = new GgufModel(target, context: 512);
        var tokenizer = TextTokenizer.FromFolder(source);
        foreach (string prompt in s_prompts)
        {
            var ids = tokenizer.Encode(prompt, addSpecialTokens: true);
            var expected = TextGenerator.Generate(model, ids, new GenerationOptions { MaxNewTokens = 32 });
            Assert.Equal(expected, gguf.Continue(ids, 32));
        }
    }

    private sealed class Collected(Action<ExportProgress> report) : IProgress<ExportProgress>
    {
        public void Report(ExportProgress value) => report(value);
    }
}
