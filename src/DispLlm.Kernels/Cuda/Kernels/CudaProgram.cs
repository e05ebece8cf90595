using System.Collections.Concurrent;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>The CUDA kernels for one GPU and one type, compiled once per process. Thread-safe.</summary>
internal sealed class CudaProgram
{
    /// <summary>The widest row that fits the shared memory of a block, in float32.</summary>
    public const long WidestRow = 16384;

    // The least compute capability (8.0): bfloat16 conversion and tensor cores.
    private const int MinCapability = 80;

    private static readonly string[] s_sources = ["Common.cu", "Elementwise.cu", "Training.cu", "SmallBatchGemm.cu", "DecodeAttention.cu"];
    private static readonly ConcurrentDictionary<(int Device, torch.ScalarType Type),
        Lazy<(CudaProgram? Program, string? Missing)>> s_programs = [];

    private readonly IKernelLauncher _launcher;
    private readonly ConcurrentDictionary<(string Name, int Pack), nint> _kernels = [];

    /// <summary>Compiled kernels of one type.</summary>
    /// <param name="launcher">Launches the kernels.</param>
    /// <param name="processors">The number of multiprocessors.</param>
    /// <param name="type">Float32 or bfloat16.</param>
    public CudaProgram(IKernelLauncher launcher, int processors, torch.ScalarType type)
    {
        _launcher = launcher;
        Processors = processors;
        Packed = type == torch.ScalarType.BFloat16 ? 8 : 4;
    }

    /// <summary>The source of all kernels, in CUDA C++.</summary>
    public static string Source => string.Join('\n', s_sources.Select(Text));

    /// <summary>The number of multiprocessors.</summary>
    public int Processors { get; }

    /// <summary>The numbers of 16 bytes.</summary>
    public int Packed { get; }

    /// <summary>The kernels for a GPU, or why there are none: then libtorch's operators compute the same in more time.</summary>
    public static (CudaProgram? Program, string? Missing) TryCreate(int device, torch.ScalarType type) =>
        s_programs.GetOrAdd((device, type), key => new(() => Compiled(key.Device, key.Type))).Value;

    /// <summary>
    /// The kernels for contiguous tensors on one GPU, all float32 or all bfloat16; null for others, or where there are none.
    /// </summary>
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

    /// <summary>The numbers that a thread loads at once: 16 bytes where all rows are aligned to 16 bytes, else one number.</summary>
    /// <param name="width">The numbers of a row, or of the narrowest part of it that is loaded separately.</param>
    /// <param name="tensors">The tensors that are read and written so.</param>
    public int VectorWidth(long width, params ReadOnlySpan<CudaArgument> tensors)
    {
        bool whole = width % Packed == 0;
        foreach (var tensor in tensors)
        {
            whole &= tensor.Bits % 16 == 0;
        }

        return whole ? Packed : 1;
    }

    /// <summary>Launches a kernel.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="pack"><see cref="VectorWidth"/>; 0 for a kernel with one variant.</param>
    /// <param name="blocks">The grid.</param>
    /// <param name="threads">The block.</param>
    /// <param name="shared">Shared memory of a block, in float32 numbers.</param>
    /// <param name="arguments">The arguments.</param>
    public void Run(string name, int pack, (long X, long Y) blocks, (long X, long Y) threads, long shared,
        params ReadOnlySpan<CudaArgument> arguments)
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

        if (CapturedDecodeGraph.Current is { } graph)
        {
            graph.Add(kernel, blocks, threads, shared * sizeof(float), bits, arguments);
            return;
        }

        _launcher.Launch(kernel, blocks, threads, shared * sizeof(float), bits);
        foreach (var argument in arguments)
        {
            GC.KeepAlive(argument.Tensor);
        }
    }

    /// <summary>An empty graph of kernels.</summary>
    /// <exception cref="CudaException">The driver cannot create one.</exception>
    public IKernelGraph NewGraph() => _launcher.NewGraph();

    private static (CudaProgram?, string?) Compiled(int device, torch.ScalarType type)
    {
        if (CudaDriver.Current is not { } driver)
        {
            return (null, "the driver's library cannot be loaded");
        }

        if (CudaCompiler.Current is not { } compiler)
        {
            return (null, "libtorch's compiler, NVRTC, cannot be loaded");
        }

        int capability = driver.Capability(device);
        if (capability < MinCapability)
        {
            return (null, $"its compute capability {capability / 10}.{capability % 10} is under {MinCapability / 10}.{MinCapability % 10}");
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

    private nint Find(string name) =>
        _launcher.Find(name) is not 0 and var kernel ? kernel : throw new CudaException($"There is no kernel {name}.");
}
