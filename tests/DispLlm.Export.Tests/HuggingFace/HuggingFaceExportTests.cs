using System.Text.Json.Nodes;
using DispLlm.Export;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Pruned folders as ordinary ones with zeros, and older pruned folders as transformers opens them.</summary>
public sealed class HuggingFaceExportTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> WithoutOutputNorms =>
    [
        "cohere", "gemma", "gpt2", "gpt2-published", "gpt-neox-parallel", "gpt-neox-serial", "granite", "llama-gqa-biases-tied",
        "llama-mha", "llama-sharded-bf16", "mistral-nemo", "opt-350m-style", "opt-bin", "opt-pre-norm", "phi-2-style", "phi-qk-norm-gqa",
        "phi3-sliding", "qwen2", "qwen3", "qwen3-config-v5", "smollm3", "stablelm", "stablelm-parallel", "starcoder2",
    ];

    public void Dispose() => _folder.Dispose();

    /// <summary>Groups are removed too, all of the first block's.</summary>
    [Theory]
    [MemberData(nameof(WithoutOutputNorms))]
    public async Task A_dense_folder_computes_what_the_pruned_one_does(string name)
    {
        using var scope = NewDisposeScope();
        using var fixture = new Fixture(name);
        string pruned = Prune(fixture, NormOrder.NormThenSelect, withoutGroups: true), dense = _folder.Below("dense");
        var reported = new List<ExportProgress>();
        var result = await DenseExport.WriteAsync(pruned, dense, progress: new Reported(reported));
        Assert.Equal(reported[^1].Total, reported.Count);
        Assert.Contains("no smaller", Assert.Single(result.Notes), StringComparison.Ordinal);
        Assert.Equal(Directory.GetFiles(dense).Sum(file => new FileInfo(file).Length), result.Bytes);

        using var expected = PrunableModel.Load(pruned);
        using var actual = PrunableModel.Load(dense);
        Assert.Null(actual.Plan);
        Tensor tokens = fixture.Expected("input_ids");
        Close.Within(1e-5, expected.Logits(tokens), actual.Logits(tokens), name);
        using var original = CheckpointFolder.Open(fixture.Folder);
        using var written = CheckpointFolder.Open(dense);
        var architectures = original.Config.GetStrings("architectures");
        Assert.Equal(architectures, written.Config.GetStrings("architectures"));
        Assert.Equal(original.Config.GetString("model_type"), written.Config.GetString("model_type"));
        Assert.False(written.Config.Has("displlm") || written.Config.Has("auto_map"));
        Assert.All(written.TensorNames, tensor => Assert.Equal($"{original.Info(tensor)}", $"{written.Info(tensor)}"));
    }

    [Theory]
    [InlineData("llama-mha", NormOrder.SelectThenNorm, "NormOrder")]
    [InlineData("gemma2", NormOrder.NormThenSelect, "NormPlacement")]
    [InlineData("olmo2", NormOrder.NormThenSelect, "NormPlacement")]
    public async Task Zeros_that_would_compute_something_else_are_refused(string name, NormOrder order, string key)
    {
        using var fixture = new Fixture(name);
        string pruned = Prune(fixture, order, withoutGroups: false);
        var error = await Assert.ThrowsAsync<ExportException>(() => DenseExport.WriteAsync(pruned, _folder.Below("dense")));
        Assert.Equal(("dense", key), (error.Format, error.Key));
        Assert.Equal([pruned], Directory.GetFileSystemEntries(_folder.Path));
    }

    [Theory]
    [InlineData(1, NormOrder.NormThenSelect)]
    [InlineData(2, NormOrder.NormThenSelect)]
    [InlineData(2, NormOrder.SelectThenNorm)]
    public async Task An_older_pruned_folder_becomes_what_is_written_today(int version, NormOrder order)
    {
        using var fixture = new Fixture("llama-mha");
        var layout = version == 1 ? PruningLayout.Paper : PruningLayout.All;
        string pruned = Prune(fixture, order, withoutGroups: false, layout);
        string older = _folder.Below("older"), target = _folder.Below("target");
        Directory.CreateDirectory(older);
        foreach (string file in Directory.GetFiles(pruned))
        {
            File.Copy(file, Path.Combine(older, Path.GetFileName(file)));
        }

        OlderFolders.Age(older, fixture.Folder, version, SelectionPlan.Load(Path.Combine(pruned, SelectionPlan.FileName)));
        var result = await HuggingFaceExport.WriteAsync(older, target);
        Assert.Contains("trust_remote_code", Assert.Single(result.Notes), StringComparison.Ordinal);

        // A plan of format 1 does not say which parameters are the stream's, so its own file may differ.
        IEnumerable<string?> Names(string folder) => Directory.GetFiles(folder).Select(Path.GetFileName).Order();
        Assert.Equal(Names(pruned), Names(target));
        JsonNode Config(string folder) => JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!;
        Assert.True(JsonNode.DeepEquals(Config(pruned), Config(target)));
        using var expected = CheckpointFolder.Open(pruned);
        using var actual = CheckpointFolder.Open(target);
        Assert.Equal(expected.TensorNames.Order(), actual.TensorNames.Order());
        Assert.All(expected.TensorNames, name => Assert.True(expected.Bytes(name).SequenceEqual(actual.Bytes(name)), name));
    }

    [Fact]
    public async Task A_dense_folder_needs_no_upgrade()
    {
        var error = await Assert.ThrowsAsync<ExportException>(
            () => HuggingFaceExport.WriteAsync(Fixture.GetFolder("llama-mha"), _folder.Below("target")));
        Assert.Contains("not pruned", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task A_target_that_holds_files_is_left_alone_and_cancellation_leaves_nothing()
    {
        using var fixture = new Fixture("llama-mha");
        string pruned = Prune(fixture, NormOrder.NormThenSelect, withoutGroups: false);
        await Assert.ThrowsAsync<DispLlmException>(() => DenseExport.WriteAsync(pruned, pruned));
        using var cancellation = new CancellationTokenSource();
        var progress = new Reported([], cancellation.Cancel);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => DenseExport.WriteAsync(pruned, _folder.Below("dense"), progress: progress, cancellationToken: cancellation.Token));
        Assert.Equal([pruned], Directory.GetFileSystemEntries(_folder.Path));
    }

    private string Prune(Fixture fixture, NormOrder order, bool withoutGroups, PruningLayout layout = PruningLayout.All)
    {
        using var model = PrunableModel.Load(fixture.Folder);
        var plan = fixture.Plan(model, order);
        var blocks = withoutGroups ? [plan.Blocks[0].With(SelectionSite.AttentionGroups, []), .. plan.Blocks.Skip(1)] : plan.Blocks;
        plan = new SelectionPlan(plan.Model, blocks, layout) { Family = plan.Family, NormOrder = order };
        string target = _folder.Below("pruned");
        new PrunedModelBuilder(fixture.Folder, plan).Build(target);
        return target;
    }

    /// <summary>Progress that is reported at once.</summary>
    private sealed class Reported(List<ExportProgress> all, Action? then = null) : IProgress<ExportProgress>
    {
        public void Report(ExportProgress value)
        {
            all.Add(value);
            then?.Invoke();
        }
    }
}
