using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>
/// Pruned folders as programs wrote them of which transformers could read none: index lists were tensors, norms were whole. Format 1 knew
/// neither layouts nor groups.
/// </summary>
public sealed class OlderFolderTests : IDisposable
{
    private const string Name = "llama-mha";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(1, NormOrder.NormThenSelect)]
    [InlineData(2, NormOrder.NormThenSelect)]
    [InlineData(2, NormOrder.SelectThenNorm)]
    public void A_folder_of_an_older_format_is_read(int version, NormOrder order)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var fixture = new Fixture(Name);
        string target = Build(order);
        Tensor tokens = fixture.Expected("input_ids"), expected;
        using (var pruned = PrunableModel.Load(target))
        {
            expected = pruned.Logits(tokens);
        }

        OlderFolders.Age(target, Fixture.GetFolder(Name), version, Plan(order, version == 1 ? PruningLayout.Paper : PruningLayout.All));
        using var older = PrunableModel.Load(target);
        Assert.Equal(version == 1 ? PruningLayout.Paper : PruningLayout.All, older.Plan!.Layout);
        Assert.True(expected.Equals(older.Logits(tokens)));
    }

    [Fact]
    public void Index_lists_that_contradict_the_plan_are_refused()
    {
        string target = Build(NormOrder.NormThenSelect);
        OlderFolders.Age(target, Fixture.GetFolder(Name), 2, Plan(NormOrder.NormThenSelect), index => index.roll(1));
        Assert.Contains(
            "displlm.blocks.0.s2", Assert.Throws<CheckpointException>(() => PrunableModel.Load(target)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    public void Other_formats_are_refused(int version)
    {
        string target = Build(NormOrder.NormThenSelect);
        OlderFolders.EditConfig(target, config => config["displlm"]!["format_version"] = version);
        string says = Assert.Throws<UnsupportedModelException>(() => PrunableModel.Load(target)).Message;
        Assert.Contains($"{version}", says, StringComparison.Ordinal);
        Assert.Contains("this program reads version 1 to 3", says, StringComparison.Ordinal);
    }

    private static SelectionPlan Plan(NormOrder order, PruningLayout layout = PruningLayout.All)
    {
        using var fixture = new Fixture(Name);
        using var model = PrunableModel.Load(fixture.Folder);
        var plan = fixture.Plan(model, order);

        // One site keeps all: its index tensor was there in format 1, and is not needed any more.
        int[] whole = [.. Enumerable.Range(0, model.Spec.HiddenSize)];
        return new SelectionPlan(
            plan.Model, [plan.Blocks[0].With(SelectionSite.AttentionInput, whole), .. plan.Blocks.Skip(1)], layout)
        {
            Family = plan.Family,
            NormOrder = order,
        };
    }

    private string Build(NormOrder order)
    {
        string target = _folder.Below("pruned");
        new PrunedModelBuilder(Fixture.GetFolder(Name), Plan(order)).Build(target);
        return target;
    }
}
