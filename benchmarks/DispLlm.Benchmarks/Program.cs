using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using DispLlm;
using DispLlm.Benchmarks;

// The benchmarks touch TorchSharp before any backend does.
NativeTorch.EnsureLoaded();

// Tables from plain measured loops; everything else is BenchmarkDotNet's.
switch (args)
{
    case ["learning", ..]:
        LearningTables.Speed(Console.Out, args.Contains("bfloat16") ? TorchSharp.torch.ScalarType.BFloat16 : TorchSharp.torch.ScalarType.Float32, rounds: 5);
        return;
    case ["memory", .. var depths]:
        LearningTables.Memory(Console.Out, depths.Length > 0 ? [.. depths.Select(depth => int.Parse(depth, System.Globalization.CultureInfo.InvariantCulture))] : [1, 2, 4]);
        return;
    case ["step", var blocks, var kept]:
        LearningTables.Row(Console.Out, int.Parse(blocks, System.Globalization.CultureInfo.InvariantCulture), Enum.Parse<ActivationMemory>(kept));
        return;
}

// In this process: the products and the model have to share one library, one set of threads and one moment of the machine.
var job = Job.Default.WithToolchain(new InProcessNoEmitToolchain(TimeSpan.FromMinutes(20), logOutput: true)).WithWarmupCount(2).WithIterationCount(8).WithInvocationCount(1).WithUnrollFactor(1);
BenchmarkSwitcher.FromAssembly(typeof(LearningBenchmark).Assembly).Run(args.Length > 0 ? args : ["--filter", "*"], DefaultConfig.Instance.AddJob(job));
