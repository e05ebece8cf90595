namespace DispLlm.Kernels;

/// <summary>Runs compiled kernels: a GPU does, through its driver.</summary>
internal interface IKernelLauncher
{
    /// <summary>A kernel by its name; 0 where there is none.</summary>
    nint Find(string name);

    /// <summary>Runs a kernel behind what was run before.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="blocks">How many blocks of threads.</param>
    /// <param name="threads">How many threads a block has.</param>
    /// <param name="room">Bytes of room that a block shares.</param>
    /// <param name="arguments">Eight bytes for each argument, of which it takes as many as it wants.</param>
    /// <exception cref="CudaException">It does not run.</exception>
    void Launch(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long room, ReadOnlySpan<long> arguments);

    /// <summary>An empty graph.</summary>
    /// <exception cref="CudaException">None can be made.</exception>
    IKernelGraph NewGraph();
}

/// <summary>Kernels that are run as one, one behind the other.</summary>
internal interface IKernelGraph : IDisposable
{
    /// <summary>Adds a kernel behind those that there are.</summary>
    /// <param name="kernel">The kernel; it waits by itself for the one in front.</param>
    /// <param name="blocks">How many blocks of threads.</param>
    /// <param name="threads">How many threads a block has.</param>
    /// <param name="room">Bytes of room that a block shares.</param>
    /// <param name="arguments">Eight bytes for each argument, which are copied.</param>
    /// <exception cref="CudaException">It is not taken.</exception>
    void Add(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long room, ReadOnlySpan<long> arguments);

    /// <summary>Makes of it what is run; nothing is added any more.</summary>
    /// <exception cref="CudaException">It cannot be.</exception>
    void Complete();

    /// <summary>Runs all of it, behind what was run before.</summary>
    /// <exception cref="CudaException">It does not run.</exception>
    void Launch();
}
