using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using DispLlm;
using DispLlm.Benchmarks;

// The benchmarks touch TorchSharp before any backend does.
NativeTorch.EnsureLoaded();

// In this process: the products and the model have to share one library, one set of threads and one moment of the machine.
var job = Job.Default.WithToolchain(new InProcessNoEmitToolchain(TimeSpan.FromMinutes(20), logOutput: true)).WithWarmupCount(2).WithIterationCount(8).WithInvocationCount(1).WithUnrollFactor(1);
BenchmarkSwitcher.FromAssembly(typeof(LearningBenchmark).Assembly).Run(args.Length > 0 ? args : ["--filter", "*"], DefaultConfig.Instance.AddJob(job));
