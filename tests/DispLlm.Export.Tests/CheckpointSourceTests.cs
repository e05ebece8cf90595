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
}
