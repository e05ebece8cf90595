using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using TorchSharp;

namespace DispLlm.Tests.Kernels;

/// <summary>
/// The CUDA kernels on the CPU, compiled by a C++ compiler where there is one: the same sources, launched by the same code, on tensors in
/// host memory. It emulates neither the memory model nor the speed of a GPU, but finds wrong addresses, barriers and sums.
/// </summary>
internal sealed unsafe partial class CudaEmulator : IKernelLauncher
{
    // Few, so that small tests have several blocks per multiprocessor.
    private const int Processors = 2;

    // One block of one kernel at a time: the emulator is one thread.
    private static readonly Lock s_lock = new();
    private static readonly Lazy<string?> s_compiler = new(() => Array.Find(["g++", "clang++"], name => Run(name, "--version") == 0));
    private static readonly Lazy<CudaProgram> s_float32 = new(() => Program(torch.ScalarType.Float32)),
        s_bfloat16 = new(() => Program(torch.ScalarType.BFloat16));

    private readonly nint _library;

    private CudaEmulator(nint library) => _library = library;

    public static void SkipWithoutCompiler() =>
        Assert.SkipUnless(s_compiler.Value is not null && OperatingSystem.IsLinux(),
            "There is no C++ compiler to emulate CUDA kernels with.");

    /// <summary>The kernels of a type.</summary>
    public static CudaProgram GetProgram(torch.ScalarType type) => (type == torch.ScalarType.BFloat16 ? s_bfloat16 : s_float32).Value;

    public nint Find(string name) => NativeLibrary.TryGetExport(_library, "run_" + name, out nint kernel) ? kernel : 0;

    public void Launch(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> arguments)
    {
        Assert.InRange(sharedBytes, 0, CudaProgram.WidestRow * sizeof(float));
        Assert.InRange(threads.X * threads.Y, 1, 1024);
        void** places = stackalloc void*[arguments.Length];
        fixed (long* first = arguments)
        {
            CudaDriver.Place(first, places, arguments.Length);
            lock (s_lock)
            {
                ((delegate* unmanaged<void**, uint, uint, uint, uint, void>)kernel)(
                    places, (uint)blocks.X, (uint)blocks.Y, (uint)threads.X, (uint)threads.Y);
            }
        }
    }

    public IKernelGraph NewGraph() => new Graph(this);

    private static CudaProgram Program(torch.ScalarType type)
    {
        string folder = Directory.CreateTempSubdirectory("displlm-emulator-").FullName;
        try
        {
            string source = Path.Combine(folder, "kernels.cpp"), library = Path.Combine(folder, "kernels.so");
            File.WriteAllText(source, Translated(CudaProgram.Source, type == torch.ScalarType.BFloat16 ? 16 : 32));
            Assert.Equal(0, Run(s_compiler.Value!, $"-std=c++20 -O2 -U_FORTIFY_SOURCE -w -shared -fPIC -o {library} {source}"));
            return new CudaProgram(new CudaEmulator(NativeLibrary.Load(library)), Processors, type);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The kernels in plain C++: without GPU instructions, and with an entry point for each.</summary>
    private static string Translated(string kernels, int bits)
    {
        string Replaced(string text, string pattern, string by)
        {
            Assert.Matches(new Regex(pattern, RegexOptions.Singleline), text);
            return Regex.Replace(text, pattern, by, RegexOptions.Singleline);
        }

        kernels = Replaced(kernels, @"extern __shared__ float4 scratch4\[\];", "");
        kernels = Replaced(kernels, @"asm\(""cvt\.rn\.bf16\.f32.*?\);", "rounded = rounded_to_bfloat16(x);");
        kernels = Replaced(kernels, @"#define MULTIPLY\(.*?\n\n",
            "#define MULTIPLY(sum, a0, a1, a2, a3, b0, b1) multiply(sum, a0, a1, a2, a3, b0, b1)\n\n");
        string header = File.ReadAllText(Path.Combine(Repository.Root, "tests/DispLlm.Tests/Kernels/CudaEmulator.h"));
        var rows = RowKernel().Matches(kernels).Select(match => match.Groups[1].Value).SelectMany(
            name => new[] { name + "_packed", name + "_single" });
        var others = OtherKernel().Matches(kernels).Select(match => match.Groups[1].Value).Where(
            name => bits == 16 || !name.StartsWith("few_rows", StringComparison.Ordinal));
        string entries = string.Join('\n', rows.Concat(others).Select(name => $"ENTRY({name})"));
        return string.Create(CultureInfo.InvariantCulture, $"{header}\n#define BITS {bits}\n{kernels}\n{entries}\n");
    }

    private static int Run(string program, string arguments)
    {
        try
        {
            using var process = Process.Start(
                new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return -1;
        }
    }

    private sealed class Graph(CudaEmulator emulator) : IKernelGraph
    {
        private readonly List<(nint Kernel, (long, long) Blocks, (long, long) Threads, long SharedBytes, long[] Arguments)> _kernels = [];
        private bool _isComplete;

        public void Add(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> arguments)
        {
            Assert.False(_isComplete);
            _kernels.Add((kernel, blocks, threads, sharedBytes, arguments.ToArray()));
        }

        public void Complete() => _isComplete = true;

        public void Launch()
        {
            Assert.True(_isComplete);
            _kernels.ForEach(added => emulator.Launch(added.Kernel, added.Blocks, added.Threads, added.SharedBytes, added.Arguments));
        }

        public void Dispose() => _kernels.Clear();
    }

    [GeneratedRegex(@"^(?:EARLY_)?(?:KERNEL|EACH)\(\s*(\w+),", RegexOptions.Multiline)]
    private static partial Regex RowKernel();

    [GeneratedRegex(@"^(?:FEW_ROWS\(|extern ""C"" __global__ void (?:__launch_bounds__\([^)]*\) )?)(\w+)[,(]", RegexOptions.Multiline)]
    private static partial Regex OtherKernel();
}

/// <summary>The row kernels of a GPU, emulated on the CPU.</summary>
public sealed class EmulatedRowKernelTests : RowKernelTests
{
    public EmulatedRowKernelTests() => CudaEmulator.SkipWithoutCompiler();

    protected override int Times => 12;

    private protected override IRowKernels Kernels(torch.ScalarType type) => new CudaKernels(CudaEmulator.GetProgram(type));

    protected override torch.Tensor OnDevice(torch.Tensor x) => x;
}

/// <summary>The decode kernels of a GPU, emulated on the CPU.</summary>
public sealed class EmulatedDecodeKernelTests : DecodeKernelTests
{
    public EmulatedDecodeKernelTests() => CudaEmulator.SkipWithoutCompiler();

    protected override int Times => 12;

    private protected override CudaDecodeKernels Kernels(torch.ScalarType type) => new(CudaEmulator.GetProgram(type));

    protected override torch.Tensor OnDevice(torch.Tensor x) => x;
}
