using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>Pruned folders as programs wrote them that knew neither layouts nor groups.</summary>
public sealed class OlderFolderTests : IDisposable
{
    private const string Name = "llama-mha";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_folder_of_format_1_is_read()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var fixture = new Fixture(Name);
        string target = Build();
        Tensor tokens = fixture.Expected("input_ids"), expected;
        using (var pruned = PrunableModel.Load(target))
        {
            expected = pruned.Logits(tokens);
        }

        MakeFormat1(target);
        using var older = PrunableModel.Load(target);
        Assert.Equal(PruningLayout.Paper, older.Plan!.Layout);
        Assert.True(expected.Equals(older.Logits(tokens)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void Other_formats_are_refused(int version)
    {
        string target = Build();
        EditConfig(target, section => section["format_version"] = version);
        string says = Assert.Throws<UnsupportedModelException>(() => PrunableModel.Load(target)).Message;
        Assert.Contains($"{version}", says, StringComparison.Ordinal);
        Assert.Contains("this program reads version 1 to 2", says, StringComparison.Ordinal);
    }

    private static SelectionPlan Plan()
    {
        using var fixture = new Fixture(Name);
        using var model = PrunableModel.Load(fixture.Folder);
        var plan = fixture.Plan(model, NormOrder.NormThenSelect);

        // One site that keeps all: its index tensor was there, and is not needed any more.
        int[] whole = [.. Enumerable.Range(0, model.Spec.HiddenSize)];
        return new SelectionPlan(
            plan.Model, [plan.Blocks[0].With(SelectionSite.AttentionInput, whole), .. plan.Blocks.Skip(1)], PruningLayout.Paper)
        {
            Family = plan.Family,
        };
    }

    private string Build()
    {
        string target = _folder.Below("pruned");
        new PrunedModelBuilder(Fixture.GetFolder(Name), Plan()).Build(target);
        return target;
    }

    private static void MakeFormat1(string target)
    {
        EditConfig(target, section =>
        {
            section["format_version"] = 1;
            section.Remove("layout");
        });
        File.WriteAllText(Path.Combine(target, SelectionPlan.FileName), OlderPlans.ToFormat1(Plan()));

        using var scope = NewDisposeScope();
        string weights = Path.Combine(target, "model.safetensors"), all = weights + ".new";
        using (var file = SafetensorsFile.Open(weights))
        {
            Assert.DoesNotContain(file.Tensors, info => info.Name == "displlm.blocks.0.s1");
            var tensors = file.Tensors.ToDictionary(info => info.Name, info => file.Read(info.Name));
            tensors["displlm.blocks.0.s1"] = arange(32, ScalarType.Int32);
            using var writer = SafetensorsWriter.Create(
                all, tensors.Select(entry => new TensorInfo(entry.Key, entry.Value.dtype, entry.Value.shape)));
            foreach (var (name, tensor) in tensors)
            {
                writer.Write(name, tensor);
            }

            writer.Complete();
        }

        File.Move(all, weights, overwrite: true);
    }

    private static void EditConfig(string folder, Action<JsonObject> edit)
    {
        string path = Path.Combine(folder, "config.json");
        var config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        edit(config["displlm"]!.AsObject());
        File.WriteAllText(path, config.ToJsonString());
    }
}
