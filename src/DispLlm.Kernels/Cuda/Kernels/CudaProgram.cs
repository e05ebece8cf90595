using System.Collections.Concurrent;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>Our kernels for one GPU and one type of numbers, compiled once in a process.</summary>
internal sealed class CudaProgram
{
    /// <summary>The widest row that a block has room for, in float32.</summary>
    public const long WidestRow = 16384;

    // Numbers of bfloat16 are rounded, and multiplied by matrix units, from here on.
    private const int LeastCapability = 80;

    private static readonly string[] s_sources = ["Numbers.cu", "Rows.cu", "Learning.cu", "FewRows.cu", "OnePosition.cu"];
    private static readonly ConcurrentDictionary<(int Device, torch.ScalarType Type), Lazy<(CudaProgram? Program, string? Missing)>> s_programs = [];

    private readonly IKernelLauncher _launcher;
    private readonly ConcurrentDictionary<(string Name, int Pack), nint> _kernels = [];

    /// <summary>Kernels that something runs, for one type of numbers.</summary>
    /// <param name="launcher">What runs them.</param>
    /// <param name="processors">How many processors it has.</param>
    /// <param name="type">Float32 or bfloat16.</param>
    public CudaProgram(IKernelLauncher launcher, int processors, torch.ScalarType type)
    {
        _launcher = launcher;
        Processors = processors;
        Packed = type == torch.ScalarType.BFloat16 ? 8 : 4;
    }

    /// <summary>The kernels as one source, in CUDA's C++.</summary>
    public static string Source => string.Join('\n', s_sources.Select(Text));

    /// <summary>How many processors the GPU has.</summary>
    public int Processors { get; }

    /// <summary>Numbers of 16 bytes.</summary>
    public int Packed { get; }

    /// <summary>The kernels for a GPU, or why there are none: then the framework's operators do their work, with the same results in more time.</summary>
    public static (CudaProgram? Program, string? Missing) TryCreate(int device, torch.ScalarType type) =>
        s_programs.GetOrAdd((device, type), key => new(() => Compiled(key.Device, key.Type))).Value;

    /// <summary>The kernels for tensors in one piece on one GPU, all float32 or all bfloat16; null for others, or where there are none.</summary>
    public static CudaProgram? For(ReadOnlySpan<torch.Tensor> tensors)
    {
        var type = tensors[0].dtype;
        if (tensors[0].device_type != DeviceType.CUDA || type is not (torch.ScalarType.Float32 or torch.ScalarType.BFloat16))
        {
            return null;
        }

        int device = tensors[0].device_index;
        foreach (var x in tensors)
        {
            if (x.device_type != DeviceType.CUDA || x.device_index != device || x.dtype != type || !x.is_contiguous())
            {
                return null;
            }
        }

        return TryCreate(device, type).Program;
    }

    /// <summary>How many numbers a thread of a kernel for rows takes at once: 16 bytes of them where all rows begin at multiples of that, else one.</summary>
    /// <param name="width">Numbers of a row, or of a stretch of it that the kernel goes over by itself: the narrowest there is.</param>
    /// <param name="tensors">What is read and written so.</param>
    public int VectorWidth(long width, params ReadOnlySpan<CudaArgument> tensors)
    {
        bool whole = width % Packed == 0;
        foreach (var tensor in tensors)
        {
            whole &= tensor.Bits % 16 == 0;
        }

        return whole ? Packed : 1;
    }

    /// <summary>Runs a kernel.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="pack">What <see cref="VectorWidth"/> says, for a kernel for rows; 0 for one that has no other.</param>
    /// <param name="blocks">Blocks of threads.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="room">Numbers in float32 that a block has room for.</param>
    /// <param name="arguments">What it is given.</param>
    public void Run(string name, int pack, (long X, long Y) blocks, (long X, long Y) threads, long room, params ReadOnlySpan<CudaArgument> arguments)
    {
        if (blocks.X == 0 || blocks.Y == 0)
        {
            return;
        }

        if (!_kernels.TryGetValue((name, pack), out nint kernel))
        {
            kernel = _kernels.GetOrAdd((name, pack), Find(pack switch { 0 => name, 1 => name + "_single", _ => name + "_packed" }));
        }

        Span<long> bits = stackalloc long[arguments.Length];
        for (int i = 0; i < arguments.Length; i++)
        {
            bits[i] = arguments[i].Bits;
        }

        if (CapturedDecodeGraph.Current is { } recorded)
        {
            recorded.Add(kernel, blocks, threads, room * sizeof(float), bits, arguments);
            return;
        }

        _launcher.Launch(kernel, blocks, threads, room * sizeof(float), bits);
        foreach (var argument in arguments)
        {
            GC.KeepAlive(argument.Tensor);
        }
    }

    /// <summary>An empty graph of kernels.</summary>
    /// <exception cref="CudaException">None can be made.</exception>
    public IKernelGraph NewGraph() => _launcher.NewGraph();

    private static (CudaProgram?, string?) Compiled(int device, torch.ScalarType type)
    {
        if (CudaDriver.OfProcess is not { } driver)
        {
            return (null, "the driver's library cannot be loaded");
        }

        if (CudaCompiler.OfProcess is not { } compiler)
        {
            return (null, "libtorch's compiler, NVRTC, cannot be loaded");
        }

        int capability = driver.Capability(device);
        if (capability < LeastCapability)
        {
            return (null, $"its compute capability {capability / 10}.{capability % 10} is under {LeastCapability / 10}.{LeastCapability % 10}");
        }

        try
        {
            int bits = type == torch.ScalarType.BFloat16 ? 16 : 32;
            byte[] code = compiler.Compile(Source, $"--gpu-architecture=sm_{capability}", "--std=c++17", $"-DBITS={bits}");
            return (new CudaProgram(new CudaModule(driver, device, code), driver.CountMultiprocessors(device), type), null);
        }
        catch (CudaException error)
        {
            // A GPU that is newer than the compiler, or code that is newer than the driver.
            return (null, error.Message);
        }
    }

    private static string Text(string name)
    {
        using var stream = typeof(CudaProgram).Assembly.GetManifestResourceStream($"DispLlm.Kernels.Cuda.{name}")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private nint Find(string name) => _launcher.Find(name) is not 0 and var kernel ? kernel : throw new CudaException($"There is no kernel {name}.");
}
