using DispLlm.Tests.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Backends;

/// <summary>What a run does on a GPU, held against the same run on the CPU. Skipped where there is no GPU.</summary>
public sealed class GpuTests
{
    [Theory]
    [InlineData(ScalarType.Float32, 1e-4)]
    [InlineData(ScalarType.BFloat16, 0.05)]
    public void Logits_and_gate_gradients_are_those_of_the_processor(ScalarType type, double tolerance)
    {
        using var scope = NewDisposeScope();
        using var host = PrunableModel.Load(SampleModel.Folder);
        using var model = PrunableModel.Load(SampleModel.Folder, Gpu(type));
        using var random = new RandomSource(5).Stream("gpu");
        Tensor tokens = Window(host, 65), gates = (random.Uniform(model.GateLayout.Count) < 0.7).to(ScalarType.Float32);
        Close.Within(tolerance, host.Logits(tokens), model.Logits(tokens), "logits");
        foreach (var kept in new[] { ActivationMemory.Everything, ActivationMemory.BlockInputs })
        {
            using var expected = GateGradients.Of(host, gates, NormOrder.NormThenSelect, [tokens], memory: kept);
            using var actual = GateGradients.Of(model, gates.to(model.Backend.Device), NormOrder.NormThenSelect, [tokens], memory: kept);
            Assert.Equal(expected.CrossEntropy, actual.CrossEntropy, 10 * tolerance);
            double off = ((actual.Gradient.cpu() - expected.Gradient).norm() / expected.Gradient.norm()).ToDouble();
            Assert.True(off <= 2 * tolerance, $"The gradients are {off} apart.");
        }
    }

    [Fact]
    public void The_same_seed_learns_the_same_bytes_twice_and_holds_no_tensor()
    {
        var backend = Gpu(ScalarType.BFloat16);
        long before = LiveTensors.Before();
        var scores = Enumerable.Range(0, 2).Select(_ =>
        {
            using var model = PrunableModel.Load(SampleModel.Folder, backend);
            using var trainer = new HypernetworkTrainer(model, PruningBudget.FromRatio(0.5), new HypernetworkOptions { Steps = 5 }, seed: 3);
            trainer.Run(new TokenWindows(SampleModel.Tokens(model), windowLength: 64, batchSize: 4, backend.Random(3)));
            return trainer.Scores().Values.ToArray();
        }).ToArray();
        Assert.Equal(scores[0], scores[1]);
        Assert.Equal(before, LiveTensors.Before());
    }

    [Fact]
    public void A_cut_model_computes_what_the_masked_one_does()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder, Gpu(ScalarType.Float32));
        var request = new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.5), Calibration = TokenCorpus.FromTokens(SampleModel.Tokens(model)) };
        var plan = new FisherSelection().Select(request).Plan;
        new PrunedModelBuilder(SampleModel.Folder, plan).Build(folder.Below("cut"));
        using var pruned = PrunableModel.Load(folder.Below("cut"), model.Backend);
        using var gates = Gates.Of(plan, model.Backend);
        Tensor tokens = Window(model, 64);
        Close.Within(1e-4, model.Logits(tokens, gates).cpu(), pruned.Logits(tokens), "masked and pruned");
        var options = new GenerationOptions { MaxNewTokens = 24 };
        int[] prompt = [.. tokens.data<long>().Take(16).Select(id => (int)id)];
        Assert.Equal(TextGenerator.Continue(pruned, prompt, options), TextGenerator.Continue(pruned, prompt, options with { KeepsKeysAndValues = false }));
    }

    [Fact]
    public void Free_memory_is_known_and_falls_by_what_is_taken()
    {
        const long Taken = 1L << 30;
        var backend = Gpu(ScalarType.Float32);
        zeros(1, device: backend.Device).Dispose();
        long before = backend.Memory().AvailableBytes!.Value;
        using Tensor held = empty([Taken], ScalarType.Int8, backend.Device);
        long after = backend.Memory().AvailableBytes!.Value;
        Assert.InRange(before - after, Taken - (64 << 20), Taken + (64 << 20));
        Assert.InRange(TorchBackend.Spread([backend.Device, backend.Device]).Memory().AvailableBytes!.Value, after - (64 << 20), after + (64 << 20));
    }

    private static TorchBackend Gpu(ScalarType type)
    {
        Assert.SkipUnless(torch.cuda.is_available(), "There is no GPU here.");
        return TorchBackend.Cuda(0, type);
    }

    private static Tensor Window(IPrunableModel model, int length) =>
        tensor(SampleModel.Tokens(model).Take(length).Select(id => (long)id).ToArray(), ScalarType.Int64).unsqueeze(0);
}
