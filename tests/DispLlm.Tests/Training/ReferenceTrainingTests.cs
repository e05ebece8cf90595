using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Training;

/// <summary>ReinMax and three whole training steps, against values computed with PyTorch.</summary>
public sealed class ReferenceTrainingTests
{
    private const double Tolerance = 1e-4;

    [Theory]
    [InlineData("1.0", 1.0)]
    [InlineData("0.5", 0.5)]
    [InlineData("2.0", 2.0)]
    public void ReinMax_draws_and_slopes_are_those_of_the_reference(string key, double temperature)
    {
        using var scope = NewDisposeScope();
        using var file = Open("reinmax");
        var (gates, slope) = BinaryReinMax.Sample(file.Read("x"), file.Read("uniform"), 3, temperature);
        Assert.Equal(file.Read($"gate.tau{key}").data<float>().ToArray(), gates.data<float>().ToArray());
        Close.Within(Tolerance, file.Read($"grad.tau{key}"), slope * file.Read("cotangent"), $"tau {key}");
    }

    [Theory]
    [InlineData(-4f, 0f)]
    [InlineData(-3f, 1f)]
    [InlineData(0.7f, 0f)]
    [InlineData(0.7f, 1f)]
    public void At_temperature_one_the_slope_has_its_closed_form(float logit, float open)
    {
        using var scope = NewDisposeScope();
        double p0 = 1 / (1 + Math.Exp(-(logit + 3)));
        var (gates, slope) = BinaryReinMax.Sample(tensor(new[] { logit }), tensor(new[] { open == 1 ? 0f : 0.99999f }));
        Assert.Equal(open, gates.ToSingle());
        Assert.Equal(open == 1 ? (1 - p0) / 2 : p0 / 2, slope.ToSingle(), 1e-6);
    }

    [Fact]
    public void Three_steps_end_where_the_reference_ends()
    {
        using var scope = NewDisposeScope();
        using var file = Open("three-steps");
        var facts = JsonDocument.Parse(File.ReadAllText(Path.Combine(Fixture.GetFolder("training"), "three-steps.json"))).RootElement;
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var trainer = new HypernetworkTrainer(
            model, PruningBudget.FromKeepFraction(facts.GetProperty("keep").GetDouble()),
                HypernetworkSelection.Paper.Options with { Steps = 3 });

        // The reference has the paper's five sites: groups are not learned, and their gates are open.
        using var learned = new LearnedGates(model.GateLayout, PruningLayout.Paper, CPU);
        Tensor isLearned = learned.Mask();
        int sites = learned.Sizes.Count;
        Assert.Equal(5 * model.Spec.NumLayers, sites);
        Tensor Flat(string prefix) => cat([.. Enumerable.Range(0, sites).Select(i => file.Read($"{prefix}.{i}"))]);
        trainer.Hypernetwork.load_state_dict(trainer.Hypernetwork.state_dict().Keys.ToDictionary(name => name, name =>
            file.Read("initial." + name)));

        for (int step = 0; step < 3; step++)
        {
            Close.Within(Tolerance, Flat($"step{step}.logits"), trainer.Hypernetwork.Logits().detach(), $"logits of step {step}");
            Tensor uniforms = Flat($"step{step}.uniform");
            var (gates, slope) = BinaryReinMax.Sample(trainer.Hypernetwork.Logits(), uniforms);
            Assert.Equal(Flat($"step{step}.gate").data<float>().ToArray(), gates.data<float>().ToArray());
            Tensor tokens = file.Read($"step{step}.tokens");
            Tensor gradient = GateGradient(model, learned.Expand(gates) + (1 - isLearned), tokens);
            Close.Within(Tolerance, Flat($"step{step}.logits_grad"), gradient.masked_select(isLearned == 1) * slope,
                $"gradient of step {step}");

            var losses = trainer.Step([tokens], learned.Expand(uniforms));
            var expected = facts.GetProperty("steps")[step];
            Assert.Equal(1, losses.CrossEntropy / expected.GetProperty("cross_entropy").GetDouble(), Tolerance);
            Assert.Equal(1, losses.BudgetLoss / expected.GetProperty("budget_loss").GetDouble(), Tolerance);
            Assert.Equal(expected.GetProperty("kept_weights").GetDouble(), losses.KeptParameters);
        }

        Close.Within(Tolerance, Flat("final.logits"), trainer.Hypernetwork.Logits().detach(), "final logits");
        foreach (var (name, value) in trainer.Hypernetwork.state_dict())
        {
            Close.Within(Tolerance, file.Read("final." + name), value.detach(), "final " + name);
        }
    }

    private static Tensor GateGradient(IPrunableModel model, Tensor gates, Tensor tokens)
    {
        using var data = GateGradients.Compute(model, gates, NormOrder.NormThenSelect, [tokens]);
        Tensor leaf = gates.detach().clone().requires_grad_();
        var budget = new BudgetRegularizer(model.Spec, PruningBudget.FromKeepFraction(0.5));
        budget.Loss(budget.KeptParameters(leaf)).backward();
        return data.Gradient + 6 * leaf.grad!;
    }

    private static SafetensorsFile Open(string name) =>
        SafetensorsFile.Open(Path.Combine(Fixture.GetFolder("training"), name + ".safetensors"));
}
