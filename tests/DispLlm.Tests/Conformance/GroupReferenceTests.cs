using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Conformance;

/// <summary>
/// Models with key-value groups removed, as transformers computes them: folders <c>-groups</c> lack some, <c>-groups-none</c> all of the
/// first block.
/// </summary>
public sealed class GroupReferenceTests
{
    private const double Tolerance = 1e-4;

    public static TheoryData<string> References =>
        SharedData.Root is not { } root || !Directory.Exists(Path.Combine(root, "deploy/fixtures")) ? ["(not here)-groups"]
        :
        [
            .. Directory.GetDirectories(Path.Combine(root, "deploy/fixtures")).Select(folder => Path.GetFileName(folder)!)
                .Where(name => name.EndsWith("-groups", StringComparison.Ordinal) || name.EndsWith("-none", StringComparison.Ordinal))
                .Order(StringComparer.Ordinal),
        ];

    [Fact]
    public void All_references_are_there()
    {
        SharedData.Path("deploy", "fixtures");
        Assert.Equal(53, References.Count);
    }

    [Theory]
    [MemberData(nameof(References))]
    public void Cut_weights_logits_and_tokens_are_those_of_the_reference(string name)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var folder = new TemporaryFolder();
        string reference = SharedData.Path("deploy", "fixtures", name), target = folder.Below("pruned");
        string source = Fixture.GetFolder(name[..name.IndexOf("-groups", StringComparison.Ordinal)]);
        using var expected = SafetensorsFile.Open(Path.Combine(reference, "expected.safetensors"));
        using var dense = PrunableModel.Load(source);
        Tensor masks = cat(
        [
            .. dense.GateLayout.Sites.Select(site => expected.Read(
                site.Site == SelectionSite.AttentionGroups ? $"groups.{site.Block}" : $"mask.{site.Block}.{(int)site.Site}")),
        ]).to(ScalarType.Float32);
        var plan = TestPlans.FromGates(dense, masks, NormOrder.NormThenSelect);
        Assert.Contains(plan.Blocks, block => block.AttentionGroups.Count < dense.Spec.NumKeyValueHeads);
        new PrunedModelBuilder(source, plan).Build(target);

        AssertSameWeights(target, reference, dense.Family);
        using var pruned = PrunableModel.Load(target);
        Tensor tokens = expected.Read("input_ids");
        Close.Within(Tolerance, expected.Read("logits"), pruned.Logits(tokens), name);

        long[] generated = expected.Read("generated").data<long>().ToArray();
        int[] prompt = [.. tokens.narrow(0, 0, 1).contiguous().data<long>().Select(id => (int)id)];
        foreach (bool keeps in new[] { true, false })
        {
            var options = new GenerationOptions { MaxNewTokens = generated.Length - prompt.Length, UseKeyValueCache = keeps };
            Assert.Equal(generated, prompt.Concat(TextGenerator.Generate(pruned, prompt, options)).Select(id => (long)id));
        }
    }

    /// <summary>Every tensor that is cut has the reference's shape, type and bytes.</summary>
    private static void AssertSameWeights(string folder, string reference, IModelFamily family)
    {
        using var ours = CheckpointFolder.Open(folder);
        using var theirs = CheckpointFolder.Open(reference);
        string Theirs(string name) => theirs.Contains(name) ? name : family.BaseModelPrefix + name;
        string[] names = [.. ours.TensorNames.Where(name => !name.StartsWith("displlm.", StringComparison.Ordinal))];
        foreach (string name in names)
        {
            var (own, other) = (ours.Info(name), theirs.Info(Theirs(name)));
            Assert.Equal((name, other.Type), (name, own.Type));
            Assert.Equal(other.Shape, own.Shape);
            Assert.True(theirs.Bytes(Theirs(name)).SequenceEqual(ours.Bytes(name)), name);
        }

        Assert.All(theirs.TensorNames.Except(names.Select(Theirs)), name => Assert.True(family.IsIgnorable(name), name));
    }
}
