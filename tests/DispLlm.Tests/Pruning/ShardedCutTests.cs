using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>What is written is sharded as what is read, is the plain gather of it, and is there whole or not at all.</summary>
public sealed class ShardedCutTests
{
    private const string Name = "llama-sharded-bf16";
    private const string Index = "model.safetensors.index.json";

    [Fact]
    public void The_index_lists_every_tensor_where_it_is_and_shards_are_those_of_the_source()
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("pruned");
        new PrunedModelBuilder(Fixture.GetFolder(Name), Half(Fixture.GetFolder(Name))).Build(target);

        using var source = CheckpointFolder.Open(Fixture.GetFolder(Name));
        using var pruned = CheckpointFolder.Open(target);
        pruned.OpenAll();
        Assert.Equal(source.Shards.Select(shard => shard.FileName), pruned.Shards.Select(shard => shard.FileName));
        foreach (var (before, after) in source.Shards.Zip(pruned.Shards))
        {
            Assert.Equal(before.TensorNames, after.TensorNames.Where(tensor => !tensor.StartsWith("displlm.", StringComparison.Ordinal)));
        }

        using var index = JsonDocument.Parse(File.ReadAllText(Path.Combine(target, Index)));
        var map = index.RootElement.GetProperty("weight_map").EnumerateObject().Select(entry => entry.Name);
        Assert.Equal(pruned.TensorNames.Order(), map.Order());
        Assert.Equal(pruned.TensorNames.Sum(tensor => pruned.Info(tensor).ByteCount),
            index.RootElement.GetProperty("metadata").GetProperty("total_size").GetInt64());
    }

    [Fact]
    public void A_whole_cut_has_the_same_bytes_in_the_same_shards()
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("whole");
        using (var model = PrunableModel.Load(Fixture.GetFolder(Name)))
        {
            new PrunedModelBuilder(model.Folder, SelectionPlan.Dense(model.Spec) with { Family = model.Family.Name }).Build(target);
        }

        using var source = CheckpointFolder.Open(Fixture.GetFolder(Name));
        using var whole = CheckpointFolder.Open(target);
        foreach (var (before, after) in source.Shards.Zip(whole.Shards))
        {
            byte[] weights = [.. before.TensorNames.SelectMany(tensor => source.Bytes(tensor).ToArray())];
            byte[] file = File.ReadAllBytes(Path.Combine(target, after.FileName));
            long indices = after.TensorNames.Except(before.TensorNames).Sum(tensor => whole.Info(tensor).ByteCount);
            Assert.Equal(weights, file[^(int)(weights.Length + indices)..^(int)indices]);
        }
    }

    /// <summary>Tensors of several pieces, of numbers of two and four bytes, against libtorch's gather.</summary>
    [Theory]
    [InlineData(ScalarType.BFloat16, 0.5)]
    [InlineData(ScalarType.Float32, 0.9)]
    public void Large_tensors_are_cut_as_a_plain_gather_cuts_them(ScalarType type, double ratio)
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        string dense = folder.Below("dense"), target = folder.Below("pruned");
        WriteLarge(dense, type);
        using var model = PrunableModel.Load(dense, TorchBackend.Cpu(type));
        var request = new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(ratio), Seed = 5 };
        var plan = new RandomSelection().Select(request).Plan;
        new PrunedModelBuilder(dense, plan).Build(target);

        using var pruned = CheckpointFolder.Open(target);
        foreach (var slot in ParameterCatalog.CheckpointTensors(model.Spec, model.Family).Where(slot => slot.Block >= 0))
        {
            var cuts = PrunedAxes.For(slot.Role, model.Spec.QueryKeyNorm);
            Tensor expected = model.Weight(slot.Role, slot.Block);
            Tensor Kept(int dimension, SelectionSite site) => expected.index_select(
                dimension, tensor(plan.Model.Expand(site, slot.Role, plan.Blocks[slot.Block][site]).ToArray()));
            expected = cuts.OutputSite is { } rows ? Kept(0, rows) : expected;
            expected = cuts.InputSite is { } columns ? Kept(1, columns) : expected;
            using Tensor actual = pruned.Read(slot.Name);
            Assert.Equal(expected.shape, actual.shape);
            Assert.True(expected.equal(actual).all().item<bool>(), slot.Name);
        }
    }

    /// <summary>A kill leaves what is there at that moment: never something under the target's name, never something that loads.</summary>
    [Fact]
    public void At_no_moment_is_half_a_model_where_one_is_looked_for()
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("pruned");
        var plan = Half(Fixture.GetFolder(Name));
        int moments = 0;
        new PrunedModelBuilder(Fixture.GetFolder(Name), plan).Build(target, new Callback<PruningProgress>(_ =>
        {
            moments++;
            Assert.False(Path.Exists(target));
            string partial = Assert.Single(Directory.GetDirectories(folder.Path));
            Assert.EndsWith(".part", partial, StringComparison.Ordinal);
            Assert.Throws<CheckpointException>(() => PrunableModel.Load(partial));
        }));
        Assert.True(moments > 5);
        Assert.Equal([target], Directory.GetDirectories(folder.Path));
        Assert.Empty(Directory.GetFiles(target, "*.part"));
        PrunableModel.Load(target).Dispose();
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.5)]
    [InlineData(0.99)]
    public void A_run_that_stops_leaves_nothing_and_the_next_one_succeeds(double after)
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("pruned");
        var builder = new PrunedModelBuilder(Fixture.GetFolder(Name), Half(Fixture.GetFolder(Name)));
        using var stop = new CancellationTokenSource();
        var progress = new Callback<PruningProgress>(done =>
        {
            if (done.Step >= after * done.Steps)
            {
                stop.Cancel();
            }
        });
        if (after < 0.99)
        {
            Assert.Throws<OperationCanceledException>(() => builder.Build(target, progress, stop.Token));
        }
        else
        {
            Assert.Throws<TimeoutException>(() => builder.Build(
                target, new Callback<PruningProgress>(done => { if (done.Step >= after * done.Steps) { throw new TimeoutException(); } })));
        }

        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
        builder.Build(target);
        PrunableModel.Load(target).Dispose();
    }

    private static SelectionPlan Half(string folder)
    {
        using var model = PrunableModel.Load(folder);
        return new RandomSelection().Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.5) }).Plan;
    }

    private static void WriteLarge(string folder, ScalarType type)
    {
        Directory.CreateDirectory(folder);
        const string Config = """
            {"model_type": "llama", "hidden_size": 96, "intermediate_size": 12000, "num_hidden_layers": 1, "num_attention_heads": 2,
             "vocab_size": 32, "max_position_embeddings": 64}
            """;
        File.WriteAllText(Path.Combine(folder, "config.json"), Config);
        using var model = PrunableModel.FromConfig(ModelConfig.Parse(Config, "a wide model"));
        var slots = ParameterCatalog.CheckpointTensors(model.Spec, model.Family).ToList();
        using var random = new RandomSource(4).Stream("weights");
        using var writer = SafetensorsWriter.Create(
            Path.Combine(folder, "model.safetensors"), slots.Select(slot => new TensorInfo(slot.Name, type, slot.Shape)));
        foreach (var slot in slots)
        {
            using var scope = NewDisposeScope();
            writer.Write(slot.Name, random.Normal([.. slot.Shape]).to(type));
        }

        writer.Complete();
    }
}
