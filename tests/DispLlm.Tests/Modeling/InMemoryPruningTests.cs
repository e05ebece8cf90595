using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>A model that is pruned in memory has the weights, byte for byte, of one that is pruned through a folder.</summary>
public sealed class InMemoryPruningTests
{
    public static TheoryData<string> Fixtures =>
    [
        "llama-mha", "llama-gqa-biases-tied", "llama-rope-llama3", "llama-sharded-bf16", "opt-350m-style", "opt-bin-sharded", "opt-no-bias",
        "opt-pre-norm", "phi-1.5-style", "phi-qk-norm-gqa",
    ];

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Weights_equal_those_of_the_pruned_folder(string name)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        using var scope = NewDisposeScope();
        using var opened = CheckpointFolder.Open(fixture.Folder);
        var stored = opened.Info(opened.TensorNames.First()).Type;
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            using var model = PrunableModel.Load(fixture.Folder, TorchBackend.Cpu(type));
            var plan = fixture.Plan(model, NormOrder.NormThenSelect);

            // A folder rounds scaled weights to the checkpoint's type.
            plan = type == stored ? plan with { Scales = RandomScales(model) } : plan;
            string target = folder.Below($"{type}");
            new PrunedModelBuilder(fixture.Folder, plan).Build(target);
            using PrunableModel expected = PrunableModel.Load(target, model.Backend), actual = model.Prune(plan);
            Assert.Equal(plan, actual.Plan);
            foreach (var part in ParameterCatalog.Parameters(model.Spec))
            {
                Tensor Parameter(PrunableModel of) => part.IsBias ? of.Bias(part.Role, part.Block)! : of.Weight(part.Role, part.Block);

                Assert.True(Parameter(expected).Equals(Parameter(actual)), $"{part} differs in {type}.");
            }

            using var noGradient = no_grad();
            Tensor tokens = fixture.Expected("input_ids");
            Assert.True(expected.Logits(tokens).Equals(actual.Logits(tokens)));
        }
    }

    [Fact]
    public void The_pruned_model_outlives_the_dense_one_and_both_release_their_weights()
    {
        using var fixture = new Fixture("llama-mha");
        long before = LiveTensors.Before();
        using (var noGradient = no_grad())
        using (var tokens = fixture.Expected("input_ids"))
        {
            PrunableModel pruned;
            using (var model = PrunableModel.Load(fixture.Folder))
            {
                pruned = model.Prune(fixture.Plan(model, NormOrder.NormThenSelect));
            }

            using (pruned)
            {
                pruned.Logits(tokens).Dispose();
                Assert.Throws<ModelAlreadyPrunedException>(() => pruned.Prune(pruned.Plan!));
            }
        }

        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void A_plan_of_another_model_is_refused()
    {
        using var fixture = new Fixture("llama-mha");
        using PrunableModel model = PrunableModel.Load(fixture.Folder), other = PrunableModel.Load(Fixture.GetFolder("opt-pre-norm"));
        var plan = fixture.Plan(model, NormOrder.NormThenSelect);
        Assert.Throws<SelectionException>(() => other.Prune(plan));
        Assert.Throws<SelectionException>(() => model.Prune(plan with { Family = "opt" }));
    }

    private static FeatureScales RandomScales(PrunableModel model)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(11).Stream("scales");
        return new FeatureScales(model.GateLayout, (random.Uniform(model.GateLayout.Count) + 0.5).data<float>().ToArray());
    }
}
