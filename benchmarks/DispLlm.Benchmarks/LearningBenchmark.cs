using BenchmarkDotNet.Attributes;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>
/// One learning step at SmolLM2's shape, 512 tokens, against its matrix multiplications alone: forward, and the gradients of inputs
/// (weights are frozen), so twice those of a forward pass. The inverse of the ratio is the share of the machine's matrix speed.
/// </summary>
public class LearningBenchmark
{
    private StepModel _shape = null!;
    private HypernetworkTrainer _trainer = null!;
    private Tensor _tokens = null!;
    private Tensor _uniforms = null!;

    [Params(ScalarType.Float32, ScalarType.BFloat16)]
    public ScalarType Type { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _shape = new StepModel(StepShape.SmolLm2, TorchBackend.Cpu(Type));
        _trainer = new HypernetworkTrainer(_shape.Model, PruningBudget.FromRatio(0.5), new HypernetworkOptions { Steps = 1 });
        using var random = new RandomSource(1).Stream("benchmark");
        _tokens = (random.Uniform(1, StepShape.SmolLm2.Length + 1) * 49152).to(ScalarType.Int64);
        _uniforms = random.Uniform(_shape.Model.GateLayout.Count);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _tokens.Dispose();
        _uniforms.Dispose();
        _trainer.Dispose();
        _shape.Dispose();
    }

    [Benchmark(Baseline = true)]
    public void StepMatmuls() => _shape.MatMuls(2);

    [Benchmark]
    public void Step() => _trainer.Step([_tokens], _uniforms);
}

/// <summary>One forward pass at SmolLM2's shape, 512 tokens, against its matrix multiplications alone.</summary>
public class ForwardBenchmark
{
    private StepModel _shape = null!;
    private Tensor _tokens = null!;

    [Params(ScalarType.Float32, ScalarType.BFloat16)]
    public ScalarType Type { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _shape = new StepModel(StepShape.SmolLm2, TorchBackend.Cpu(Type));
        using var random = new RandomSource(1).Stream("benchmark");
        _tokens = (random.Uniform(1, StepShape.SmolLm2.Length) * 49152).to(ScalarType.Int64);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _tokens.Dispose();
        _shape.Dispose();
    }

    [Benchmark(Baseline = true)]
    public void PassMatmuls() => _shape.MatMuls(1);

    [Benchmark]
    public void Pass()
    {
        using var noGradient = no_grad();
        _shape.Model.Logits(_tokens).Dispose();
    }
}
