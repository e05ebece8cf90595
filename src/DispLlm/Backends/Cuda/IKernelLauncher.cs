namespace DispLlm;

/// <summary>Runs compiled kernels: a GPU does, through its driver.</summary>
internal unsafe interface IKernelLauncher
{
    /// <summary>A kernel by its name; 0 where there is none.</summary>
    nint Find(string name);

    /// <summary>Runs a kernel behind what was run before.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="blocks">How many blocks of threads.</param>
    /// <param name="threads">How many threads a block has.</param>
    /// <param name="room">Bytes of room that a block shares.</param>
    /// <param name="arguments">Where each argument lies.</param>
    /// <exception cref="BackendException">It does not run.</exception>
    void Launch(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long room, void** arguments);

    /// <summary>An empty graph of kernels.</summary>
    /// <exception cref="BackendException">There is none.</exception>
    CudaGraph NewGraph();
}
