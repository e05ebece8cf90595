using System.Runtime.InteropServices;
using System.Text;

namespace DispLlm.Kernels;

/// <summary>
/// The CUDA driver API, in the primary context, which libtorch uses. Upstream gap (TorchSharp 0.107): neither free memory nor kernel
/// launches have a binding. Thread-safe.
/// </summary>
internal sealed unsafe class CudaDriver
{
    private const int Processors = 16, MajorCapability = 75, MinorCapability = 76, MaxSharedBytes = 8;

    private static readonly string[] s_names = OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];

    // The library is never unloaded.
    private static readonly Lazy<CudaDriver?> s_current = new(Load);

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
    private readonly delegate* unmanaged<int, byte**, int> _errorName;

    private readonly nint _library;

    private CudaDriver(nint library)
    {
        _library = library;

        _device = (delegate* unmanaged<int*, int, int>)Export("cuDeviceGet");
        _attribute = (delegate* unmanaged<int*, int, int, int>)Export("cuDeviceGetAttribute");
        _retainContext = (delegate* unmanaged<nint*, int, int>)Export("cuDevicePrimaryCtxRetain");
        _releaseContext = (delegate* unmanaged<int, int>)Export("cuDevicePrimaryCtxRelease_v2");
        _currentContext = (delegate* unmanaged<nint*, int>)Export("cuCtxGetCurrent");
        _pushContext = (delegate* unmanaged<nint, int>)Export("cuCtxPushCurrent_v2");
        _popContext = (delegate* unmanaged<nint*, int>)Export("cuCtxPopCurrent_v2");
        _memory = (delegate* unmanaged<nuint*, nuint*, int>)Export("cuMemGetInfo_v2");
        _loadModule = (delegate* unmanaged<nint*, byte*, int>)Export("cuModuleLoadData");
        _function = (delegate* unmanaged<nint*, nint, byte*, int>)Export("cuModuleGetFunction");
        _setAttribute = (delegate* unmanaged<nint, int, int, int>)Export("cuFuncSetAttribute");
        _launch = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Export("cuLaunchKernel");
        _errorName = (delegate* unmanaged<int, byte**, int>)Export("cuGetErrorName");
    }

    /// <summary>A function of the driver, by its name.</summary>
    /// <exception cref="EntryPointNotFoundException">There is none.</exception>
    public nint Export(string name) => NativeLibrary.GetExport(_library, name);

    /// <summary>The same; 0 where there is none.</summary>
    public nint ExportOrNone(string name) => NativeLibrary.TryGetExport(_library, name, out nint function) ? function : 0;

    /// <summary>The driver of this process; null where none can be loaded.</summary>
    public static CudaDriver? Current => s_current.Value;

    /// <summary>The compute capability of a GPU: 90 for 9.0; 0 where the driver does not report it.</summary>
    public int Capability(int device) => (10 * Attribute(device, MajorCapability)) + Attribute(device, MinorCapability);

    /// <summary>The number of multiprocessors of a GPU.</summary>
    public int CountMultiprocessors(int device) => Attribute(device, Processors);

    /// <summary>
    /// The free bytes of a GPU; null where the driver does not report them. The cache of libtorch's allocator counts as used.
    /// </summary>
    public long? FreeBytes(int device)
    {
        int handle;
        nint context;

        // Retaining the context creates it where nothing has been computed yet.
        if (_device(&handle, device) != 0 || _retainContext(&context, handle) != 0)
        {
            return null;
        }

        nuint free = 0, total;
        bool isKnown = _pushContext(context) == 0;
        if (isKnown)
        {
            isKnown = _memory(&free, &total) == 0;
            Pop();
        }

        _ = _releaseContext(handle);
        return isKnown ? (long)free : null;
    }

    /// <summary>The primary context of a GPU, retained for the life of the process.</summary>
    /// <exception cref="CudaException">There is none.</exception>
    public nint Context(int device)
    {
        int handle;
        nint context;
        Check(_device(&handle, device), "cuDeviceGet");
        Check(_retainContext(&context, handle), "cuDevicePrimaryCtxRetain");
        return context;
    }

    /// <summary>Loads compiled code into a context, for the life of the process.</summary>
    /// <exception cref="CudaException">The driver rejects it.</exception>
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

    /// <summary>A function of loaded code, with a limit of shared memory per block; 0 where there is none of that name.</summary>
    public nint Function(nint context, nint module, string name, int maxSharedBytes)
    {
        nint function;
        bool pushed = Enter(context);
        fixed (byte* text = Encoding.UTF8.GetBytes(name + '\0'))
        {
            int error = _function(&function, module, text);
            if (error == 0)
            {
                error = _setAttribute(function, MaxSharedBytes, maxSharedBytes);
            }

            Leave(pushed);
            return error == 0 ? function : 0;
        }
    }

    /// <summary>Launches a kernel on the default stream, after what libtorch has launched.</summary>
    /// <param name="context">The device's context.</param>
    /// <param name="function">The kernel.</param>
    /// <param name="blocks">The grid.</param>
    /// <param name="threads">The block.</param>
    /// <param name="sharedBytes">Shared memory of a block, in bytes.</param>
    /// <param name="arguments">Eight bytes for each argument.</param>
    /// <exception cref="CudaException">The driver rejects it.</exception>
    public void Launch(nint context, nint function, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes,
        ReadOnlySpan<long> arguments)
    {
        void** places = stackalloc void*[arguments.Length];
        fixed (long* first = arguments)
        {
            Place(first, places, arguments.Length);
            bool pushed = Enter(context, mayStay: true);

            // libtorch's stream is the default one; TorchSharp has no other.
            int error = _launch(function, (uint)blocks.X, (uint)blocks.Y, 1, (uint)threads.X, (uint)threads.Y, 1, (uint)sharedBytes, 0,
                places, null);
            Leave(pushed);
            Check(error, "cuLaunchKernel");
        }
    }

    /// <summary>Writes the address of each argument, as the driver expects them.</summary>
    public static void Place(long* arguments, void** places, int count)
    {
        for (int i = 0; i < count; i++)
        {
            places[i] = arguments + i;
        }
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

    /// <summary>Makes a context current on this thread: with several GPUs it may be another one's.</summary>
    /// <param name="context">The context.</param>
    /// <param name="mayStay">Whether the context may stay current where the thread had none, as after a kernel of libtorch; without one,
    /// libtorch's matrix multiplications warn.</param>
    /// <returns>The argument of <see cref="Leave"/>.</returns>
    public bool Enter(nint context, bool mayStay = false)
    {
        nint current = 0;
        if (_currentContext(&current) == 0 && current == context)
        {
            return false;
        }

        Check(_pushContext(context), "cuCtxPushCurrent");
        return current != 0 || !mayStay;
    }

    /// <summary>Makes the previous context current again.</summary>
    public void Leave(bool pushed)
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

    /// <summary>Throws if a call has failed.</summary>
    /// <exception cref="CudaException">The error is not 0.</exception>
    public void Check(int error, string what)
    {
        if (error != 0)
        {
            byte* name;
            string text = _errorName(error, &name) == 0 ? Marshal.PtrToStringUTF8((nint)name)!
                : error.ToString(System.Globalization.CultureInfo.InvariantCulture);
            throw new CudaException($"The GPU's driver returns {text} from {what}.");
        }
    }
}
