using System.Security.Cryptography;
using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Conformance;

/// <summary>
/// Pruned folders as transformers opened them, and what it computes: in both orders of norm and selection (<c>-select-then-norm</c>), with
/// key-value groups removed (<c>-groups</c>), and with none left in the first block (<c>-groups-none</c>).
/// </summary>
public sealed class TransformersFolderTests
{
    private const double Tolerance = 1e-4;
    private const string SelectThenNorm = "-select-then-norm", Groups = "-groups", NoGroups = "-groups-none";

    public static TheoryData<string> References =>
        SharedData.Root is not { } root || !Directory.Exists(Path.Combine(root, "deploy/fixtures")) ? ["(not here)"]
        :
        [
            .. Directory.GetDirectories(Path.Combine(root, "deploy/fixtures")).Select(folder => Path.GetFileName(folder)!)
                .Order(StringComparer.Ordinal),
        ];

    /// <summary>The modeling file is the one that was run: whoever changes it has to run it again.</summary>
    [Fact]
    public void The_modeling_file_is_the_one_that_was_run()
    {
        using var folder = new TemporaryFolder();
        ModelingFile.Write(folder.Path);
        byte[] file = File.ReadAllBytes(folder.Below("modeling_displlm.py"));
        Assert.Equal("CD4FB3243C8D4804978EE614F3EB438F2275B251046D99CCA0F4C40E23AF12DD", Convert.ToHexString(SHA256.HashData(file)));
    }

    [Fact]
    public void All_references_are_there()
    {
        SharedData.Path("deploy", "fixtures");
        Assert.Equal(108, References.Count);
    }

    [Theory]
    [MemberData(nameof(References))]
    public void Weights_configuration_logits_and_tokens_are_those_of_the_reference(string name)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var folder = new TemporaryFolder();
        string reference = SharedData.Path("deploy", "fixtures", name), target = folder.Below("pruned");
        string source = Fixture.GetFolder(new[] { NoGroups, Groups, SelectThenNorm }.Aggregate(
            name, (rest, suffix) => rest.EndsWith(suffix, StringComparison.Ordinal) ? rest[..^suffix.Length] : rest));
        using var expected = SafetensorsFile.Open(Path.Combine(reference, "expected.safetensors"));
        using var dense = PrunableModel.Load(source);
        var order = name.EndsWith(SelectThenNorm, StringComparison.Ordinal) ? NormOrder.SelectThenNorm : NormOrder.NormThenSelect;
        new PrunedModelBuilder(source, TestPlans.FromGates(dense, Masks(dense, expected), order)).Build(target);

        AssertSameWeights(target, reference, dense.Family);
        AssertSameConfiguration(target, reference);
        Assert.True(File.Exists(Path.Combine(target, "modeling_displlm.py")));
        using var pruned = PrunableModel.Load(target);
        Tensor tokens = expected.Read("input_ids");
        Close.Within(Tolerance, expected.Read("logits"), pruned.Logits(tokens), name);
        if (expected.Tensors.Any(info => info.Name == "generated"))
        {
            AssertContinues(pruned, tokens, expected.Read("generated"));
        }
    }

    private static Tensor Masks(PrunableModel dense, SafetensorsFile expected)
    {
        bool hasGroups = expected.Tensors.Any(info => info.Name == "groups.0");
        Tensor Mask(GateRange range) => range.Site != SelectionSite.AttentionGroups
            ? expected.Read($"mask.{range.Block}.{(int)range.Site}")
            : hasGroups ? expected.Read($"groups.{range.Block}")
            : ones(range.Size);
        return cat([.. dense.GateLayout.Sites.Select(range => Mask(range).to(ScalarType.Float32))]);
    }

    private static void AssertContinues(PrunableModel pruned, Tensor tokens, Tensor expected)
    {
        long[] generated = expected.data<long>().ToArray();
        int[] prompt = [.. tokens.narrow(0, 0, 1).contiguous().data<long>().Select(id => (int)id)];
        foreach (bool keeps in new[] { true, false })
        {
            var options = new GenerationOptions { MaxNewTokens = generated.Length - prompt.Length, UseKeyValueCache = keeps };
            Assert.Equal(generated, prompt.Concat(TextGenerator.Generate(pruned, prompt, options)).Select(id => (long)id));
        }
    }

    /// <summary>Every tensor has the reference's shape, type and bytes.</summary>
    private static void AssertSameWeights(string folder, string reference, IModelFamily family)
    {
        using var ours = CheckpointFolder.Open(folder);
        using var theirs = CheckpointFolder.Open(reference);
        string Theirs(string name) => theirs.Contains(name) ? name : family.BaseModelPrefix + name;
        foreach (string name in ours.TensorNames)
        {
            var (own, other) = (ours.Info(name), theirs.Info(Theirs(name)));
            Assert.Equal((name, other.Type), (name, own.Type));
            Assert.Equal(other.Shape, own.Shape);
            Assert.True(theirs.Bytes(Theirs(name)).SequenceEqual(ours.Bytes(name)), name);
        }

        Assert.All(theirs.TensorNames.Except(ours.TensorNames.Select(Theirs)), name => Assert.True(family.IsIgnorable(name), name));
    }

    /// <summary>Every key of the reference is there with its value, those that transformers writes for itself aside.</summary>
    private static void AssertSameConfiguration(string folder, string reference)
    {
        static JsonObject Read(string path) => JsonNode.Parse(File.ReadAllText(Path.Combine(path, "config.json")))!.AsObject();
        var (ours, theirs) = (Read(folder), Read(reference));
        var (section, expected) = (ours["displlm"]!.AsObject(), theirs["displlm"]!.AsObject());
        theirs.Remove("displlm");
        Assert.All(expected, entry => Assert.Equal(entry.Value!.ToJsonString(), section[entry.Key]!.ToJsonString()));
        Assert.All(theirs, entry => Assert.Equal((entry.Key, entry.Value?.ToJsonString()), (entry.Key, ours[entry.Key]?.ToJsonString())));
    }
}
