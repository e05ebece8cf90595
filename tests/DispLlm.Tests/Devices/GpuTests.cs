using DispLlm.Tests.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Devices;

/// <summary>Runs on a GPU equal those on the CPU. Skipped without a GPU.</summary>
public sealed class GpuTests
{
    [Theory]
    [InlineData(ScalarType.Float32, 1e-4)]
    [InlineData(ScalarType.BFloat16, 0.05)]
    public void Logits_and_gate_gradients_equal_the_CPUs(ScalarType type, double tolerance)
    {
        using var scope = NewDisposeScope();
        using var host = PrunableModel.Load(SampleModel.Folder);
        using var model = PrunableModel.Load(SampleModel.Folder, Gpu(type));
        using var random = new RandomSource(5).Stream("gpu");
        Tensor tokens = Window(host, 65), gates = (random.Uniform(model.GateLayout.Count) < 0.7).to(ScalarType.Float32);
        Close.Within(tolerance, host.Logits(tokens), model.Logits(tokens), "logits");
        foreach (var kept in new[] { ActivationCheckpointing.None, ActivationCheckpointing.PerBlock })
        {
            using var expected = GateGradients.Compute(host, gates, NormOrder.NormThenSelect, [tokens], memory: kept);
            using var actual = GateGradients.Compute(
                model, gates.to(model.Backend.Device), NormOrder.NormThenSelect, [tokens], memory: kept);
            Assert.Equal(expected.CrossEntropy, actual.CrossEntropy, 10 * tolerance);
            double off = ((actual.Gradient.cpu() - expected.Gradient).norm() / expected.Gradient.norm()).ToDouble();
            Assert.True(off <= 2 * tolerance, $"The gradients are {off} apart.");
        }
    }

    [Fact]
    public void The_same_seed_learns_the_same_bytes_and_leaks_no_tensor()
    {
        var backend = Gpu(ScalarType.BFloat16);
        float[] Learned(ITensorBackend on)
        {
            using var model = PrunableModel.Load(SampleModel.Folder, on);
            using var trainer = new HypernetworkTrainer(
                model, PruningBudget.FromRatio(0.5), new HypernetworkOptions { Steps = 5 }, seed: 3);
            trainer.Run(new SequenceSampler(SampleModel.Tokens(model), sequenceLength: 64, batchSize: 4, on.Random(3)));
            return [.. trainer.Scores().Values];
        }

        long Left(ITensorBackend on)
        {
            long before = LiveTensors.Before();
            Learned(on);
            return LiveTensors.Before() - before;
        }

        Assert.Equal(Learned(backend), Learned(backend));

        // TorchSharp keeps counting what became a parameter: no more than on the CPU.
        Left(TorchBackend.Cpu());
        Assert.Equal(Left(TorchBackend.Cpu()), Left(backend));
    }

    [Fact]
    public void Prompts_of_different_lengths_are_continued_as_each_alone()
    {
        using var model = PrunableModel.Load(SampleModel.Folder, Gpu(ScalarType.Float32));
        int[] tokens = SampleModel.Tokens(model);
        int[][] prompts = [tokens[..20], tokens[40..47], tokens[100..133]];
        var options = new GenerationOptions { MaxNewTokens = 16 };
        Assert.Equal(prompts.Select(prompt => TextGenerator.Generate(model, prompt, options)),
            TextGenerator.Generate(model, prompts, options));
    }

    /// <summary>
    /// A decode step, which uses other operators, equals a full forward pass, with and without padding.
    /// </summary>
    [Fact]
    public void A_decode_step_in_bfloat16_equals_the_last_position_of_a_prefill()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.Load(SampleModel.Folder, Gpu(ScalarType.BFloat16));
        Tensor tokens = Window(model, 40);
        foreach (int padding in new[] { 0, 3 })
        {
            using KeyValueCache cache = model.CreateKeyValueCache([padding]), whole = model.CreateKeyValueCache();
            Tensor padded = cat([zeros([1, padding], ScalarType.Int64), tokens], 1);
            model.NextTokenLogits(padded.narrow(1, 0, padded.shape[1] - 1), cache);
            Tensor last = model.NextTokenLogits(padded.narrow(1, padded.shape[1] - 1, 1), cache).reshape(-1);
            Close.Within(0.03, model.NextTokenLogits(tokens, whole).reshape(-1).cpu(), last, $"{padding} columns of padding");
        }
    }

    /// <summary>
    /// Decode steps use a captured graph after a few tokens, until the cache grows; prefills never do.
    /// </summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(5, false)]
    [InlineData(0, true)]
    public void A_captured_decode_step_equals_a_computed_one(int padding, bool isPruned)
    {
        using var folder = new TemporaryFolder();
        using var dense = PrunableModel.Load(SampleModel.Folder, Gpu(ScalarType.BFloat16));
        if (isPruned)
        {
            var request = new SelectionRequest { Model = dense, Budget = PruningBudget.FromRatio(0.3), WidthMultiple = 8 };
            new PrunedModelBuilder(SampleModel.Folder, new RandomSelection().Select(request).Plan).Build(folder.Below("pruned"));
        }

        using var model = isPruned ? PrunableModel.Load(folder.Below("pruned"), dense.Backend) : null;
        using var tokens = Window(dense, 150);
        Assert.InRange(CountCaptured(model ?? dense, tokens, padding, 0.05), 120, 140);
    }

    /// <summary>
    /// Every family's blocks can be captured. Queries that are normed, and widths that are no multiple of 8, are left to libtorch.
    /// </summary>
    [Theory]
    [InlineData("llama-mha", true)]
    [InlineData("opt-pre-norm", true)]
    [InlineData("opt-350m-style", true)]
    [InlineData("opt-no-bias", true)]
    [InlineData("phi-1.5-style", true)]
    [InlineData("phi-2-style", false)]
    [InlineData("phi-qk-norm-gqa", false)]
    public void Every_familys_tokens_are_recorded(string name, bool isCaptured)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder(name), Gpu(ScalarType.BFloat16));
        using var tokens = arange(40, ScalarType.Int64).mul(7).remainder(61).unsqueeze(0);
        Assert.Equal(isCaptured, CountCaptured(model, tokens, 0, 0.1) > 0);
    }

    [Fact]
    public void A_pruned_model_equals_the_masked_one()
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder, Gpu(ScalarType.Float32));
        var request = new SelectionRequest
        {
            Model = model,
            Budget = PruningBudget.FromRatio(0.5),
            Calibration = TokenCorpus.FromTokens(SampleModel.Tokens(model))
        };

        // Scales are folded into the weights, which the checkpoint rounds to its type.
        var plan = new FisherSelection().Select(request).Plan with { Scales = null };
        using var noGradient = no_grad();
        new PrunedModelBuilder(SampleModel.Folder, plan).Build(folder.Below("pruned"));
        using var pruned = PrunableModel.Load(folder.Below("pruned"), model.Backend);
        using var gates = Gates.FromPlan(plan, model.Backend);
        Tensor tokens = Window(model, 64);
        Close.Within(1e-4, model.Logits(tokens, gates).cpu(), pruned.Logits(tokens), "masked and pruned");
        var options = new GenerationOptions { MaxNewTokens = 24 };
        int[] prompt = [.. tokens.data<long>().Take(16).Select(id => (int)id)];
        Assert.Equal(TextGenerator.Generate(pruned, prompt, options),
            TextGenerator.Generate(pruned, prompt, options with { UseKeyValueCache = false }));
    }

    [Fact]
    public void Available_memory_falls_by_what_is_allocated()
    {
        const long Taken = 1L << 30;
        var backend = Gpu(ScalarType.Float32);
        zeros(1, device: backend.Device).Dispose();
        long before = backend.Memory().AvailableBytes!.Value;
        using Tensor held = empty([Taken], ScalarType.Int8, backend.Device);
        long after = backend.Memory().AvailableBytes!.Value;
        Assert.InRange(before - after, Taken - (64 << 20), Taken + (64 << 20));
        Assert.InRange(TorchBackend.DistributeBlocks([backend.Device, backend.Device]).Memory().AvailableBytes!.Value, after - (64 << 20),
            after + (64 << 20));
    }

    /// <summary>
    /// Decodes the tokens after the first ten, compares with full passes, and counts the steps with a captured graph.
    /// </summary>
    private static int CountCaptured(PrunableModel model, Tensor tokens, int padding, double tolerance)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using KeyValueCache cache = model.CreateKeyValueCache([padding]), whole = model.CreateKeyValueCache();
        model.NextTokenLogits(cat([zeros([1, padding], ScalarType.Int64), tokens.narrow(1, 0, 10)], 1), cache);
        int captured = 0;
        for (int i = 10; i < tokens.shape[1]; i++)
        {
            using var step = NewDisposeScope();
            Tensor logits = model.NextTokenLogits(tokens.narrow(1, i, 1), cache);
            captured += ((IKeyValueMemory)cache).DecodeState is CudaDecodeState { Graph: not null } ? 1 : 0;
            if (i % 10 == 9)
            {
                whole.Clear();
                Close.Within(tolerance, model.NextTokenLogits(tokens.narrow(1, 0, i + 1), whole).reshape(-1).cpu(), logits.reshape(-1),
                    $"token {i}");
            }
        }

        return captured;
    }

    private static TorchBackend Gpu(ScalarType type)
    {
        TestBackend.SkipWithoutGpu();
        return TorchBackend.Cuda(0, type);
    }

    private static Tensor Window(IPrunableModel model, int length) =>
        tensor(SampleModel.Tokens(model).Take(length).Select(id => (long)id).ToArray(), ScalarType.Int64).unsqueeze(0);
}
