using System.Runtime.InteropServices;
using System.Text;

namespace DispLlm;

/// <summary>
/// The few functions of a GPU's driver that are called here, in the context that the framework computes in: it tells of memory, and runs kernels of our own, neither of which TorchSharp has
/// a name for.
/// </summary>
internal sealed unsafe class CudaDriver
{
    private const int Processors = 16, MajorCapability = 75, MinorCapability = 76, MostRoom = 8;

    private static readonly string[] s_names = OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];

    // Functions of a library that stays in the process, as long as the process lasts.
    private static readonly Lazy<CudaDriver?> s_ofProcess = new(Load);

    private readonly delegate* unmanaged<int*, int, int> _device;
    private readonly delegate* unmanaged<int*, int, int, int> _attribute;
    private readonly delegate* unmanaged<nint*, int, int> _retainContext;
    private readonly delegate* unmanaged<int, int> _releaseContext;
    private readonly delegate* unmanaged<nint*, int> _currentContext;
    private readonly delegate* unmanaged<nint, int> _pushContext;
    private readonly delegate* unmanaged<nint*, int> _popContext;
    private readonly delegate* unmanaged<nuint*, nuint*, int> _memory;
    private readonly delegate* unmanaged<nint*, byte*, int> _loadModule;
    private readonly delegate* unmanaged<nint*, nint, byte*, int> _function;
    private readonly delegate* unmanaged<nint, int, int, int> _setAttribute;
    private readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> _launch;
    private readonly delegate* unmanaged<nint*, uint, int> _newGraph;
    private readonly delegate* unmanaged<nint*, nint, nint*, nuint, KernelNode*, int> _addKernel;
    private readonly delegate* unmanaged<nint, nint*, nint*, Edge*, nuint, int> _addEdges;
    private readonly delegate* unmanaged<nint*, nint, ulong, int> _instantiate;
    private readonly delegate* unmanaged<nint, nint, int> _launchGraph;
    private readonly delegate* unmanaged<nint, int> _destroyExecutable;
    private readonly delegate* unmanaged<nint, int> _destroyGraph;
    private readonly delegate* unmanaged<int, byte**, int> _errorName;

    private CudaDriver(nint library)
    {
        nint Function(string name) => NativeLibrary.GetExport(library, name);

        _device = (delegate* unmanaged<int*, int, int>)Function("cuDeviceGet");
        _attribute = (delegate* unmanaged<int*, int, int, int>)Function("cuDeviceGetAttribute");
        _retainContext = (delegate* unmanaged<nint*, int, int>)Function("cuDevicePrimaryCtxRetain");
        _releaseContext = (delegate* unmanaged<int, int>)Function("cuDevicePrimaryCtxRelease_v2");
        _currentContext = (delegate* unmanaged<nint*, int>)Function("cuCtxGetCurrent");
        _pushContext = (delegate* unmanaged<nint, int>)Function("cuCtxPushCurrent_v2");
        _popContext = (delegate* unmanaged<nint*, int>)Function("cuCtxPopCurrent_v2");
        _memory = (delegate* unmanaged<nuint*, nuint*, int>)Function("cuMemGetInfo_v2");
        _loadModule = (delegate* unmanaged<nint*, byte*, int>)Function("cuModuleLoadData");
        _function = (delegate* unmanaged<nint*, nint, byte*, int>)Function("cuModuleGetFunction");
        _setAttribute = (delegate* unmanaged<nint, int, int, int>)Function("cuFuncSetAttribute");
        _launch = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Function("cuLaunchKernel");
        _newGraph = (delegate* unmanaged<nint*, uint, int>)Function("cuGraphCreate");
        _addKernel = (delegate* unmanaged<nint*, nint, nint*, nuint, KernelNode*, int>)Function("cuGraphAddKernelNode");

        // Drivers since CUDA 12.3.
        _addEdges = NativeLibrary.TryGetExport(library, "cuGraphAddDependencies_v2", out nint edges) ? (delegate* unmanaged<nint, nint*, nint*, Edge*, nuint, int>)edges : null;
        _instantiate = (delegate* unmanaged<nint*, nint, ulong, int>)Function("cuGraphInstantiateWithFlags");
        _launchGraph = (delegate* unmanaged<nint, nint, int>)Function("cuGraphLaunch");
        _destroyExecutable = (delegate* unmanaged<nint, int>)Function("cuGraphExecDestroy");
        _destroyGraph = (delegate* unmanaged<nint, int>)Function("cuGraphDestroy");
        _errorName = (delegate* unmanaged<int, byte**, int>)Function("cuGetErrorName");
    }

    /// <summary>The driver of this machine; null where there is none.</summary>
    public static CudaDriver? OfProcess => s_ofProcess.Value;

    /// <summary>What a GPU, numbered as this process sees them, can do: 90 for 9.0; 0 where the driver does not tell.</summary>
    public int Capability(int device) => (10 * Attribute(device, MajorCapability)) + Attribute(device, MinorCapability);

    /// <summary>How many processors a GPU has.</summary>
    public int ProcessorsOf(int device) => Attribute(device, Processors);

    /// <summary>Free bytes of a GPU; null where the driver does not tell. What the framework has taken and keeps for its next tensors counts as used.</summary>
    public long? FreeBytes(int device)
    {
        int handle;
        nint context;

        // It is made here where nothing has been computed yet.
        if (_device(&handle, device) != 0 || _retainContext(&context, handle) != 0)
        {
            return null;
        }

        nuint free = 0, total;
        bool told = _pushContext(context) == 0;
        if (told)
        {
            told = _memory(&free, &total) == 0;
            Pop();
        }

        _ = _releaseContext(handle);
        return told ? (long)free : null;
    }

    /// <summary>The context that the framework computes in on a GPU, held for as long as the process lasts.</summary>
    /// <exception cref="BackendException">The driver gives none.</exception>
    public nint Context(int device)
    {
        int handle;
        nint context;
        Check(_device(&handle, device), "cuDeviceGet");
        Check(_retainContext(&context, handle), "cuDevicePrimaryCtxRetain");
        return context;
    }

    /// <summary>Loads compiled code into a context, for as long as the process lasts.</summary>
    /// <exception cref="BackendException">The driver does not take it.</exception>
    public nint Load(nint context, ReadOnlySpan<byte> code)
    {
        nint module;
        bool pushed = Enter(context);
        fixed (byte* first = code)
        {
            int error = _loadModule(&module, first);
            Leave(pushed);
            Check(error, "cuModuleLoadData");
        }

        return module;
    }

    /// <summary>A function of loaded code, which may ask for some bytes of room for a block; 0 where there is none of that name.</summary>
    public nint Function(nint context, nint module, string name, int mostRoom)
    {
        nint function;
        bool pushed = Enter(context);
        fixed (byte* text = Encoding.UTF8.GetBytes(name + '\0'))
        {
            int error = _function(&function, module, text);
            if (error == 0)
            {
                error = _setAttribute(function, MostRoom, mostRoom);
            }

            Leave(pushed);
            return error == 0 ? function : 0;
        }
    }

    /// <summary>Gives a kernel to the device, behind what the framework has given it so far.</summary>
    /// <param name="context">The device's context.</param>
    /// <param name="function">The kernel.</param>
    /// <param name="blocks">How many blocks of threads.</param>
    /// <param name="threads">How many threads a block has.</param>
    /// <param name="room">Bytes of room that a block shares.</param>
    /// <param name="arguments">Where each argument lies.</param>
    /// <exception cref="BackendException">The driver does not take it.</exception>
    public void Launch(nint context, nint function, (long X, long Y) blocks, (long X, long Y) threads, long room, void** arguments)
    {
        bool pushed = Enter(context);

        // The framework's own stream is the default one, and TorchSharp has no other.
        int error = _launch(function, (uint)blocks.X, (uint)blocks.Y, 1, (uint)threads.X, (uint)threads.Y, 1, (uint)room, 0, arguments, null);
        Leave(pushed);
        Check(error, "cuLaunchKernel");
    }

    /// <summary>An empty graph of kernels.</summary>
    /// <exception cref="BackendException">The driver makes none.</exception>
    public nint NewGraph(nint context)
    {
        nint graph;
        bool pushed = Enter(context);
        int error = _newGraph(&graph, 0);
        Leave(pushed);
        Check(error, "cuGraphCreate");
        return graph;
    }

    /// <summary>Adds a kernel to a graph, behind another one, or 0 for the first. What the arguments are is copied.</summary>
    /// <param name="context">The device's context.</param>
    /// <param name="graph">The graph.</param>
    /// <param name="before">The kernel in front of it.</param>
    /// <param name="early">Whether it waits by itself for the one in front, and may begin before that has ended; a matter of the device's generation.</param>
    /// <param name="function">The kernel.</param>
    /// <param name="blocks">How many blocks of threads.</param>
    /// <param name="threads">How many threads a block has.</param>
    /// <param name="room">Bytes of room that a block shares.</param>
    /// <param name="arguments">Where each argument lies.</param>
    /// <exception cref="BackendException">The driver does not take it.</exception>
    public nint AddTo(
        nint context, nint graph, nint before, bool early, nint function, (long X, long Y) blocks, (long X, long Y) threads, long room, void** arguments)
    {
        nint node;
        var kernel = new KernelNode
        {
            Function = function,
            BlocksX = (uint)blocks.X,
            BlocksY = (uint)blocks.Y,
            BlocksZ = 1,
            ThreadsX = (uint)threads.X,
            ThreadsY = (uint)threads.Y,
            ThreadsZ = 1,
            Room = (uint)room,
            Arguments = arguments,
        };
        bool pushed = Enter(context);
        bool apart = before == 0 || (early && _addEdges is not null);
        int error = _addKernel(&node, graph, apart ? null : &before, apart ? 0u : 1u, &kernel);
        if (error == 0 && apart && before != 0)
        {
            var edge = Edge.Early;
            error = _addEdges(graph, &before, &node, &edge, 1);
        }

        Leave(pushed);
        Check(error, "cuGraphAddKernelNode");
        return node;
    }

    /// <summary>A graph as the device runs it.</summary>
    /// <exception cref="BackendException">The driver does not take it.</exception>
    public nint Executable(nint context, nint graph)
    {
        nint executable;
        bool pushed = Enter(context);
        int error = _instantiate(&executable, graph, 0);
        Leave(pushed);
        Check(error, "cuGraphInstantiateWithFlags");
        return executable;
    }

    /// <summary>Gives a graph to the device, behind what the framework has given it so far.</summary>
    /// <exception cref="BackendException">The driver does not take it.</exception>
    public void Launch(nint context, nint executable)
    {
        bool pushed = Enter(context);
        int error = _launchGraph(executable, 0);
        Leave(pushed);
        Check(error, "cuGraphLaunch");
    }

    /// <summary>Destroys a graph, and what was made of it; 0 for none.</summary>
    public void Forget(nint context, nint graph, nint executable)
    {
        bool pushed = Enter(context);
        if (executable != 0)
        {
            _ = _destroyExecutable(executable);
        }

        if (graph != 0)
        {
            _ = _destroyGraph(graph);
        }

        Leave(pushed);
    }

    private static CudaDriver? Load()
    {
        foreach (string name in s_names)
        {
            if (NativeLibrary.TryLoad(name, out nint library)
                && NativeLibrary.TryGetExport(library, "cuInit", out nint initialise)
                && ((delegate* unmanaged<uint, int>)initialise)(0) == 0)
            {
                return new CudaDriver(library);
            }
        }

        return null;
    }

    private int Attribute(int device, int which)
    {
        int handle, value;
        return _device(&handle, device) == 0 && _attribute(&value, which, handle) == 0 ? value : 0;
    }

    // With several GPUs a thread may stand in another one's context.
    private bool Enter(nint context)
    {
        nint current;
        if (_currentContext(&current) == 0 && current == context)
        {
            return false;
        }

        Check(_pushContext(context), "cuCtxPushCurrent");
        return true;
    }

    private void Leave(bool pushed)
    {
        if (pushed)
        {
            Pop();
        }
    }

    private void Pop()
    {
        nint popped;
        _ = _popContext(&popped);
    }

    private void Check(int error, string what)
    {
        if (error != 0)
        {
            byte* name;
            string text = _errorName(error, &name) == 0 ? Marshal.PtrToStringUTF8((nint)name)! : error.ToString(System.Globalization.CultureInfo.InvariantCulture);
            throw new BackendException($"The GPU's driver answers {text} to {what}.");
        }
    }

    /// <summary>What one kernel of a graph is to the next (<c>CUgraphEdgeData</c>).</summary>
    [StructLayout(LayoutKind.Sequential, Size = 8)]
    private struct Edge
    {
        public byte FromPort;
        public byte ToPort;
        public byte Type;

        /// <summary>The next one may begin when this one says so, and waits for its end by itself.</summary>
        public static Edge Early => new() { FromPort = 1, Type = 1 };
    }

    /// <summary>A kernel of a graph, as the driver wants it told (<c>CUDA_KERNEL_NODE_PARAMS_v1</c>).</summary>
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
        public uint Room;
        public void** Arguments;
        public void** Extra;
    }
}
