namespace DispLlm.Kernels;

/// <summary>Launches compiled kernels: the driver of a GPU, or an emulator in tests.</summary>
internal interface IKernelLauncher
{
    /// <summary>A kernel by its name; 0 where there is none.</summary>
    nint Find(string name);

    /// <summary>Launches a kernel after those launched before.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="blocks">The grid.</param>
    /// <param name="threads">The block.</param>
    /// <param name="sharedBytes">Shared memory of a block, in bytes.</param>
    /// <param name="arguments">Eight bytes for each argument.</param>
    /// <exception cref="CudaException">The launch fails.</exception>
    void Launch(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> arguments);

    /// <summary>An empty graph.</summary>
    /// <exception cref="CudaException">The driver cannot create one.</exception>
    IKernelGraph NewGraph();
}

/// <summary>Kernels that are launched as one CUDA graph, one after the other.</summary>
internal interface IKernelGraph : IDisposable
{
    /// <summary>Appends a kernel.</summary>
    /// <param name="kernel">The kernel; it waits for the one before it itself.</param>
    /// <param name="blocks">The grid.</param>
    /// <param name="threads">The block.</param>
    /// <param name="sharedBytes">Shared memory of a block, in bytes.</param>
    /// <param name="arguments">Eight bytes for each argument, which are copied.</param>
    /// <exception cref="CudaException">The driver rejects it.</exception>
    void Add(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> arguments);

    /// <summary>Instantiates the graph; nothing can be added after it.</summary>
    /// <exception cref="CudaException">The driver rejects it.</exception>
    void Complete();

    /// <summary>Launches the graph after what was launched before.</summary>
    /// <exception cref="CudaException">The launch fails.</exception>
    void Launch();
}
