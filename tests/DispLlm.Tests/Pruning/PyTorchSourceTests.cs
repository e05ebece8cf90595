using DispLlm.Tests.Checkpoints;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>PyTorch files are pruned as safetensors are.</summary>
public sealed class PyTorchSourceTests
{
    [Theory]
    [InlineData("llama-mha")]
    [InlineData("llama-sharded-bf16")]
    public void Pruning_PyTorch_files_gives_the_same_bytes(string name)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        string pickled = folder.Below("pickled"), expected = folder.Below("expected"), actual = folder.Below("actual");
        Pickle(fixture.Folder, pickled);
        SelectionPlan plan;
        using (var model = PrunableModel.Load(pickled))
        {
            plan = fixture.Plan(model, NormOrder.NormThenSelect);
        }

        new PrunedModelBuilder(fixture.Folder, plan).Build(expected);
        new PrunedModelBuilder(pickled, plan).Build(actual);
        string[] files = [.. Directory.GetFiles(expected).Select(file => Path.GetFileName(file)!).Order()];
        Assert.Equal(files, Directory.GetFiles(actual).Select(Path.GetFileName).Order());
        Assert.All(files, file =>
            Assert.Equal(File.ReadAllBytes(Path.Combine(expected, file)), File.ReadAllBytes(Path.Combine(actual, file))));
    }

    /// <summary>Writes a folder's weights anew as PyTorch would, shard by shard.</summary>
    private static void Pickle(string source, string target)
    {
        Directory.CreateDirectory(target);
        using var folder = CheckpointFolder.Open(source);
        foreach (var shard in folder.Shards)
        {
            var pickle = PickleBuilder.Dictionary;
            foreach (var (i, name) in shard.TensorNames.Index())
            {
                var info = folder.Info(name);
                pickle.Text(name).Tensor($"{i}", info.Type == ScalarType.BFloat16 ? "BFloat16Storage" : "FloatStorage", [.. info.Shape]);
            }

            byte[][] storages = [.. shard.TensorNames.Select(name => folder.Bytes(name).ToArray())];
            File.WriteAllBytes(Path.Combine(target, InPyTorch(shard.FileName)), ZipBuilder.Checkpoint(pickle.End(), storages).ToArray());
        }

        foreach (string file in Directory.GetFiles(source, "*.json"))
        {
            File.WriteAllText(Path.Combine(target, InPyTorch(Path.GetFileName(file))), InPyTorch(File.ReadAllText(file)));
        }
    }

    private static string InPyTorch(string text) =>
        text.Replace(".safetensors", ".bin", StringComparison.Ordinal).Replace("model.bin", "pytorch_model.bin", StringComparison.Ordinal);
}
