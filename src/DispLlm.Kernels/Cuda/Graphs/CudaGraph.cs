using System.Runtime.InteropServices;

namespace DispLlm.Kernels;

/// <summary>A chain of kernels as a CUDA graph. Where the device has programmatic launch, a kernel starts early and waits for the one
/// before it by itself.</summary>
internal sealed unsafe class CudaGraph : IKernelGraph
{
    private readonly CudaDriver _driver;
    private readonly nint _context;
    private readonly delegate* unmanaged<nint*, nint, nint*, nuint, KernelNode*, int> _addKernel;
    private readonly delegate* unmanaged<nint, nint*, nint*, Edge*, nuint, int> _addEdges;
    private readonly delegate* unmanaged<nint*, nint, ulong, int> _instantiate;
    private readonly delegate* unmanaged<nint, nint, int> _launch;
    private readonly delegate* unmanaged<nint, int> _destroyExecutable;
    private readonly delegate* unmanaged<nint, int> _destroy;
    private nint _graph;
    private nint _last;
    private nint _executable;

    /// <summary>Creates an empty graph.</summary>
    /// <param name="driver">The driver.</param>
    /// <param name="context">The GPU's context.</param>
    /// <param name="early">Whether the device has programmatic launch.</param>
    /// <exception cref="CudaException">The driver creates none.</exception>
    public CudaGraph(CudaDriver driver, nint context, bool early)
    {
        _driver = driver;
        _context = context;
        _addKernel = (delegate* unmanaged<nint*, nint, nint*, nuint, KernelNode*, int>)driver.Export("cuGraphAddKernelNode");
        _instantiate = (delegate* unmanaged<nint*, nint, ulong, int>)driver.Export("cuGraphInstantiateWithFlags");
        _launch = (delegate* unmanaged<nint, nint, int>)driver.Export("cuGraphLaunch");
        _destroyExecutable = (delegate* unmanaged<nint, int>)driver.Export("cuGraphExecDestroy");
        _destroy = (delegate* unmanaged<nint, int>)driver.Export("cuGraphDestroy");

        // Drivers since CUDA 12.3.
        _addEdges =
            (delegate* unmanaged<nint, nint*, nint*, Edge*, nuint, int>)(early ? driver.ExportOrNone("cuGraphAddDependencies_v2") : 0);
        var create = (delegate* unmanaged<nint*, uint, int>)driver.Export("cuGraphCreate");
        nint graph;
        bool entered = driver.Enter(context);
        int error = create(&graph, 0);
        driver.Leave(entered);
        driver.Check(error, "cuGraphCreate");
        _graph = graph;
    }

    /// <inheritdoc/>
    public void Add(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> arguments)
    {
        void** places = stackalloc void*[arguments.Length];
        fixed (long* first = arguments)
        {
            CudaDriver.Place(first, places, arguments.Length);
            var node = new KernelNode
            {
                Function = kernel,
                BlocksX = (uint)blocks.X,
                BlocksY = (uint)blocks.Y,
                BlocksZ = 1,
                ThreadsX = (uint)threads.X,
                ThreadsY = (uint)threads.Y,
                ThreadsZ = 1,
                SharedBytes = (uint)sharedBytes,
                Arguments = places,
            };
            nint added, before = _last;
            bool begins = before == 0, early = !begins && _addEdges is not null;
            bool entered = _driver.Enter(_context);
            int error = _addKernel(&added, _graph, begins || early ? null : &before, begins || early ? 0u : 1u, &node);
            if (error == 0 && early)
            {
                var edge = Edge.Early;
                error = _addEdges(_graph, &before, &added, &edge, 1);
            }

            _driver.Leave(entered);
            _driver.Check(error, "cuGraphAddKernelNode");
            _last = added;
        }
    }

    /// <inheritdoc/>
    public void Complete()
    {
        nint executable;
        bool entered = _driver.Enter(_context);
        int error = _instantiate(&executable, _graph, 0);
        _driver.Leave(entered);
        _driver.Check(error, "cuGraphInstantiateWithFlags");
        _executable = executable;
    }

    /// <inheritdoc/>
    public void Launch()
    {
        bool entered = _driver.Enter(_context);
        int error = _launch(_executable, 0);
        _driver.Leave(entered);
        _driver.Check(error, "cuGraphLaunch");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        bool entered = _driver.Enter(_context);
        if (_executable != 0)
        {
            _ = _destroyExecutable(_executable);
        }

        if (_graph != 0)
        {
            _ = _destroy(_graph);
        }

        _driver.Leave(entered);
        (_graph, _executable) = (0, 0);
    }

    /// <summary>A dependency of one kernel on another (<c>CUgraphEdgeData</c>).</summary>
    [StructLayout(LayoutKind.Sequential, Size = 8)]
    private struct Edge
    {
        public byte FromPort;
        public byte ToPort;
        public byte Type;

        /// <summary>The next kernel may start when this one allows it, and waits for its end by itself.</summary>
        public static Edge Early => new() { FromPort = 1, Type = 1 };
    }

    /// <summary>A kernel launch (<c>CUDA_KERNEL_NODE_PARAMS_v1</c>).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct KernelNode
    {
        public nint Function;
        public uint BlocksX;
        public uint BlocksY;
        public uint BlocksZ;
        public uint ThreadsX;
        public uint ThreadsY;
        public uint ThreadsZ;
        public uint SharedBytes;
        public void** Arguments;
        public void** Extra;
    }
}
