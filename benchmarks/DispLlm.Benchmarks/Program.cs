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
    case ["learning", .. var types]:
        LearningTables.Speed(Console.Out, ShapeIn(types), TypeIn(types), types.Contains("cuda"), rounds: 9);
        return;
    case ["memory", .. var rest]:
        int[] depths = [.. rest.Where(word => char.IsDigit(word[0])).Select(Number)];
        LearningTables.Memory(Console.Out, TypeIn(rest), depths.Length > 0 ? depths : [1, 2, 4]);
        return;
    case ["operators", .. var rest]:
        OperatorTable.Print(Console.Out, rest.Contains("cuda"),
            rest.Where(word => char.IsDigit(word[0])).Select(Number).FirstOrDefault(2048));
        return;
    case ["kernels", .. var threads]:
        TorchSharp.torch.set_num_threads(threads.Select(Number).FirstOrDefault(Environment.ProcessorCount));
        KernelTable.Print(Console.Out);
        return;
    case ["card", var gigabytes, .. var rest]:
        LearningTables.Card(Console.Out, TypeIn(rest), rest.Where(word => char.IsDigit(word[0])).Select(Number).FirstOrDefault(32),
            1e9 * Number(gigabytes));
        return;
    case ["step", var type, var blocks, var kept]:
        LearningTables.Row(Console.Out, TypeIn([type]), Number(blocks), Enum.Parse<ActivationCheckpointing>(kept));
        return;
}

static StepShape ShapeIn(string[] words) => words.FirstOrDefault(word => word.StartsWith("llama2-7b", StringComparison.Ordinal)) is { } word
    ? word.Split(':', 'x') is [_, var blocks, .. var batch]
        ? StepShape.Llama2(Number(blocks), batch is [var sequences] ? Number(sequences) : 1) : StepShape.Llama2(32)
    : StepShape.SmolLm2;

static int Number(string word) => int.Parse(word, System.Globalization.CultureInfo.InvariantCulture);

static TorchSharp.torch.ScalarType TypeIn(string[] words) =>
    words.Contains("bfloat16", StringComparer.OrdinalIgnoreCase) ? TorchSharp.torch.ScalarType.BFloat16
        : TorchSharp.torch.ScalarType.Float32;

// In this process: both sides have to share one library, one set of threads and one state of the machine.
var job = Job.Default.WithToolchain(
    new InProcessNoEmitToolchain(
    TimeSpan.FromMinutes(20), logOutput: true)).WithWarmupCount(2).WithIterationCount(8).WithInvocationCount(1).WithUnrollFactor(1);
BenchmarkSwitcher.FromAssembly(typeof(LearningBenchmark).Assembly).Run(
    args.Length > 0 ? args : ["--filter", "*"], DefaultConfig.Instance.AddJob(job));
