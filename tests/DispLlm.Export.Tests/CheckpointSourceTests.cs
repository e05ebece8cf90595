using DispLlm.Export;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>What exporters read of a folder.</summary>
public sealed class CheckpointSourceTests
{
    [Theory]
    [InlineData("llama-gqa-biases-tied")]
    [InlineData("phi3-sliding")]
    [InlineData("gpt2")]
    [InlineData("stablelm")]
    [InlineData("gemma2")]
    public async Task Parameters_of_a_pruned_folder_are_those_of_the_loaded_model(string name)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        using var model = PrunableModel.Load(fixture.Folder);
        string target = folder.Below("pruned");
        await new PrunedModelBuilder(fixture.Folder, fixture.Plan(model, NormOrder.NormThenSelect)).BuildAsync(target);

        using var source = CheckpointSource.Open(target, ModelFamilies.BuiltIn);
        using var pruned = PrunableModel.Load(target);
        foreach (var parameter in ParameterCatalog.Parameters(source.Spec).Where(parameter => !parameter.IsBias))
        {
            using var scope = NewDisposeScope();
            Tensor expected = pruned.Weight(parameter.Role, parameter.Block);
            Close.Within(0, expected, source.Read(parameter.Role, parameter.Block), $"{parameter.Role} {parameter.Block}");
            Assert.Equal(parameter.Shape, source.ReadWide(parameter.Role, parameter.Block).shape);
        }
    }

    /// <summary>Nothing is exported of a folder that contradicts itself: what is wrong is named, and nothing is written.</summary>
    [Theory]
    [InlineData("plan", "model.layers.0.mlp")]
    [InlineData("masks", "displlm.kept[0]")]
    [InlineData("weights", "model.layers.1.self_attn.q_proj.weight")]
    [InlineData("numbers", "model.norm.weight")]
    public async Task A_folder_that_contradicts_itself_is_refused(string what, string named)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("llama-mha");
        string pruned = folder.Below("pruned");
        using (var model = PrunableModel.Load(fixture.Folder))
        {
            var plan = fixture.Plan(model, NormOrder.NormThenSelect);
            await new PrunedModelBuilder(fixture.Folder, plan).BuildAsync(pruned);
            Damage(pruned, what, plan);
        }

        foreach (var write in new Func<string, Task>[]
        {
            target => OnnxExport.WriteAsync(pruned, target), target => GgufExport.WriteAsync(pruned, target),
            target => DenseExport.WriteAsync(pruned, target), target => HuggingFaceExport.WriteAsync(pruned, target),
        })
        {
            var error = await Assert.ThrowsAsync<CheckpointException>(() => write(folder.Below("target")));
            Assert.Contains(named, error.Message, StringComparison.Ordinal);
            Assert.Equal([pruned], Directory.GetFileSystemEntries(folder.Path));
        }
    }

    private static void Damage(string pruned, string what, SelectionPlan plan)
    {
        var first = plan.Blocks[0];
        switch (what)
        {
            case "plan":
                // The configuration says the same: only the weights have another width.
                plan = plan.With(0, SelectionSite.MlpHidden, [.. first.MlpHidden.Skip(1)]);
                plan.Save(Path.Combine(pruned, SelectionPlan.FileName));
                OlderFolders.EditConfig(pruned, config => config["displlm"]!["kept"]![0]![3] = first.MlpHidden.Count - 1);
                break;
            case "masks":
                OlderFolders.EditConfig(pruned, config =>
                {
                    var kept = config["displlm"]!["kept"]!;
                    kept[0]![0] = kept[1]![0]!.DeepClone();
                });
                break;
            default:
                Rewrite(Path.Combine(pruned, "model.safetensors"), (name, tensor) =>
                    what == "weights" ? name == "model.layers.1.self_attn.q_proj.weight" ? tensor[.., 1..] : tensor
                    : name == "model.norm.weight" ? full_like(tensor, double.NaN) : tensor);
                break;
        }
    }

    private static void Rewrite(string file, Func<string, Tensor, Tensor> change)
    {
        using var scope = NewDisposeScope();
        List<(string Name, Tensor Value)> tensors;
        using (var source = SafetensorsFile.Open(file))
        {
            tensors = [.. source.Tensors.Select(info => (info.Name, change(info.Name, source.Read(info.Name)).contiguous()))];
        }

        using var writer = SafetensorsWriter.Create(
            file, tensors.Select(tensor => new TensorInfo(tensor.Name, tensor.Value.dtype, tensor.Value.shape)));
        foreach (var (name, value) in tensors)
        {
            writer.Write(name, value);
        }

        writer.Complete();
    }
}
