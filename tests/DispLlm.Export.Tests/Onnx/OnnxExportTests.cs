using DispLlm.Export;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Types of weights, what is refused, and what is in the folder.</summary>
public sealed class OnnxExportTests
{
    private static readonly string s_dense = Fixture.GetFolder("small-llama");

    [Theory]
    [InlineData(OnnxWeightType.Float16, 2e-3, 0.52)]
    [InlineData(OnnxWeightType.BFloat16, 1e-5, 0.52)]
    [InlineData(OnnxWeightType.Int8, 0.02, 0.33)]
    [InlineData(OnnxWeightType.Int4, 0.15, 0.24)]
    public async Task Logits_are_within_the_tolerance_of_the_type(OnnxWeightType type, double tolerance, double size)
    {
        using var folder = new TemporaryFolder();
        string half = await OnnxGenerationTests.HalfAsync(s_dense, folder.Below("half"));
        int same = 0;
        foreach (string checkpoint in new[] { s_dense, half })
        {
            string target = folder.Below(Path.GetFileName(checkpoint) + ".onnx");
            var options = new OnnxExportOptions { AllLogits = true };
            long whole = (await OnnxExport.WriteAsync(checkpoint, target + ".float32", options)).Bytes;
            var result = await OnnxExport.WriteAsync(checkpoint, target, options with { WeightType = type });
            using var scope = NewDisposeScope();
            using var model = PrunableModel.Load(checkpoint);
            using var session = new OnnxSession(target);
            var ids = TextTokenizer.FromFolder(checkpoint).Encode("The captain looked at the sea and");
            Tensor tokens = tensor(ids.Select(id => (long)id).ToArray(), ScalarType.Int64).unsqueeze(0);
            Tensor expected = model.Logits(tokens);
            Tensor actual = cat([session.Read(tokens.narrow(1, 0, 4)), session.Read(tokens.narrow(1, 4, tokens.size(1) - 4))], 1);
            Close.Within(tolerance, expected, actual, $"{type} of {checkpoint}");
            Assert.InRange((double)result.Bytes / whole, 0.1, size);

            // Rounding may turn a choice between two tokens; what follows it is another text.
            int[] prompt = [.. ids];
            using var exported = new Microsoft.ML.OnnxRuntimeGenAI.Model(target);
            var greedy = TextGenerator.Generate(model, prompt, new GenerationOptions { MaxNewTokens = 16 });
            var generated = GenAiFolder.Generate(exported, prompt, 16);
            same += greedy.Zip(generated).TakeWhile(pair => pair.First == pair.Second).Count();
        }

        Assert.InRange(same, 20, 32);
    }

    /// <summary>Widths that no block divides, a projected embedding, one stream, shared and separate heads.</summary>
    [Theory]
    [InlineData("phi-2-style")]
    [InlineData("opt-350m-style")]
    [InlineData("gemma2")]
    [InlineData("gpt2")]
    public async Task Blocks_fit_every_width(string name)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        using var model = PrunableModel.Load(fixture.Folder);
        foreach (var layout in new[] { PruningLayout.Paper, PruningLayout.Stream })
        {
            var order = layout == PruningLayout.Paper ? NormOrder.NormThenSelect : NormOrder.SelectThenNorm;
            string checkpoint = folder.Below($"{layout}"), target = folder.Below($"{layout}.onnx");
            await new PrunedModelBuilder(fixture.Folder, OnnxPlans.Half(model, layout, order)).BuildAsync(checkpoint);
            await OnnxExport.WriteAsync(
                checkpoint, target, new OnnxExportOptions { AllLogits = true, WeightType = OnnxWeightType.Int8, BlockSize = 16 });
            using var scope = NewDisposeScope();
            using var pruned = PrunableModel.Load(checkpoint);
            using var session = new OnnxSession(target);
            Tensor tokens = fixture.Expected("input_ids").narrow(0, 0, 1);
            Close.Within(0.05, pruned.Logits(tokens), session.Read(tokens), $"{name}, {layout}");
        }
    }

    [Fact]
    public async Task Token_embedding_and_tied_head_are_stored_once()
    {
        using var folder = new TemporaryFolder();
        string tied = Fixture.GetFolder("gemma");
        using var model = PrunableModel.Load(tied);
        long parameters = new ParameterCounter(model.Spec).Dense.WholeModel;
        await OnnxExport.WriteAsync(tied, folder.Below("tied"));
        long tables = 2L * model.Spec.MaxPositions * model.Spec.HeadDim / 2;
        long embedding = model.Spec.VocabularySize * model.Spec.HiddenSize;
        long numbers = new FileInfo(folder.Below("tied/model.onnx.data")).Length / sizeof(float);
        Assert.InRange(numbers, parameters + tables, parameters + tables + (embedding / 2));
    }

    [Fact]
    public async Task The_same_checkpoint_gives_the_same_bytes()
    {
        using var folder = new TemporaryFolder();
        foreach (var type in new[] { OnnxWeightType.Float32, OnnxWeightType.Int4 })
        {
            var options = new OnnxExportOptions { WeightType = type };
            string[] targets = [folder.Below($"{type}1"), folder.Below($"{type}2")];
            foreach (string target in targets)
            {
                await OnnxExport.WriteAsync(Fixture.GetFolder("phi-2-style"), target, options);
            }

            foreach (string file in Directory.GetFiles(targets[0]))
            {
                Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(targets[1], Path.GetFileName(file))));
            }
        }
    }

    [Fact]
    public async Task A_result_says_what_it_wrote_and_progress_counts_every_parameter()
    {
        using var folder = new TemporaryFolder();
        var reports = new List<ExportProgress>();
        string checkpoint = Fixture.GetFolder("phi3-longrope");
        var result = await OnnxExport.WriteAsync(
            checkpoint, folder.Below("onnx"), new OnnxExportOptions { WeightType = OnnxWeightType.Int8 }, new Recorder(reports));
        Assert.Equal(Directory.GetFiles(result.Path).Sum(file => new FileInfo(file).Length), result.Bytes);
        Assert.Equal(Enumerable.Range(1, reports[0].Total), reports.Select(report => report.Written));
        Assert.Contains(result.Notes, note => note.Contains("8 bits", StringComparison.Ordinal));
        using var model = PrunableModel.Load(checkpoint);
        var scaling = Assert.IsType<RotaryScaling.LongRope>(model.Spec.Rotary!.Scaling);
        Assert.Equal(scaling.OriginalMaxPositions, GenAiFolder.ContextLength(result.Path));
        Assert.Contains(result.Notes, note => note.Contains("rotary frequencies", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_cannot_be_computed_exactly_is_refused_by_name()
    {
        using var folder = new TemporaryFolder();
        string checkpoint = Fixture.GetFolder("phi3-longrope");
        var error = await Assert.ThrowsAsync<ExportException>(() =>
            OnnxExport.WriteAsync(checkpoint, folder.Below("onnx"), new OnnxExportOptions { ContextLength = 100 }));
        Assert.Equal(("onnx", "ContextLength"), (error.Format, error.Key));
        Assert.Contains("100", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task A_model_without_any_attention_is_refused()
    {
        using var folder = new TemporaryFolder();
        string dense = Fixture.GetFolder("gemma"), pruned = folder.Below("pruned");
        using var model = PrunableModel.Load(dense);
        var plan = OnnxPlans.Half(model, PruningLayout.Blocks, NormOrder.NormThenSelect);
        await new PrunedModelBuilder(dense, plan).BuildAsync(pruned);
        var error = await Assert.ThrowsAsync<ExportException>(() => OnnxExport.WriteAsync(pruned, folder.Below("onnx")));
        Assert.Equal(("onnx", "AttentionGroups"), (error.Format, error.Key));
        Assert.False(Directory.Exists(folder.Below("onnx")));
    }

    [Theory]
    [InlineData(24, null, OnnxWeightType.Int4)]
    [InlineData(32, 0, OnnxWeightType.Int4)]
    [InlineData(32, null, (OnnxWeightType)99)]
    public async Task Options_out_of_range_are_refused(int blockSize, int? contextLength, OnnxWeightType type)
    {
        using var folder = new TemporaryFolder();
        var options = new OnnxExportOptions { BlockSize = blockSize, ContextLength = contextLength, WeightType = type };
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => OnnxExport.WriteAsync(s_dense, folder.Below("onnx"), options));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task A_target_with_files_is_refused_and_kept()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Below("mine.txt"), "mine");
        await Assert.ThrowsAsync<DispLlmException>(() => OnnxExport.WriteAsync(s_dense, folder.Path));
        Assert.Equal([folder.Below("mine.txt")], Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task Cancellation_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        using var cancellation = new CancellationTokenSource();
        var progress = new Recorder([], report => report.Written == 5, cancellation.Cancel);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            OnnxExport.WriteAsync(s_dense, folder.Below("onnx"), null, progress, cancellation.Token));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    private sealed class Recorder(List<ExportProgress> reports, Predicate<ExportProgress>? when = null, Action? then = null)
        : IProgress<ExportProgress>
    {
        public void Report(ExportProgress value)
        {
            reports.Add(value);
            if (when?.Invoke(value) == true)
            {
                then!();
            }
        }
    }
}
