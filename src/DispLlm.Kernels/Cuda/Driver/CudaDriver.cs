using System.Runtime.InteropServices;
using System.Text;

namespace DispLlm.Kernels;

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

    /// <summary>The driver of this machine; null where there is none.</summary>
    public static CudaDriver? OfProcess => s_ofProcess.Value;

    /// <summary>What a GPU, numbered as this process sees them, can do: 90 for 9.0; 0 where the driver does not tell.</summary>
    public int Capability(int device) => (10 * Attribute(device, MajorCapability)) + Attribute(device, MinorCapability);

    /// <summary>How many processors a GPU has.</summary>
    public int CountMultiprocessors(int device) => Attribute(device, Processors);

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
    /// <exception cref="CudaException">The driver gives none.</exception>
    public nint Context(int device)
    {
        int handle;
        nint context;
        Check(_device(&handle, device), "cuDeviceGet");
        Check(_retainContext(&context, handle), "cuDevicePrimaryCtxRetain");
        return context;
    }

    /// <summary>Loads compiled code into a context, for as long as the process lasts.</summary>
    /// <exception cref="CudaException">The driver does not take it.</exception>
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
    /// <param name="arguments">Eight bytes for each argument.</param>
    /// <exception cref="CudaException">The driver does not take it.</exception>
    public void Launch(nint context, nint function, (long X, long Y) blocks, (long X, long Y) threads, long room, ReadOnlySpan<long> arguments)
    {
        void** places = stackalloc void*[arguments.Length];
        fixed (long* first = arguments)
        {
            Place(first, places, arguments.Length);
            bool pushed = Enter(context, mayStay: true);

            // The framework's own stream is the default one, and TorchSharp has no other.
            int error = _launch(function, (uint)blocks.X, (uint)blocks.Y, 1, (uint)threads.X, (uint)threads.Y, 1, (uint)room, 0, places, null);
            Leave(pushed);
            Check(error, "cuLaunchKernel");
        }
    }

    /// <summary>Says of each argument where it lies, as the driver wants it told.</summary>
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

    /// <summary>Goes into a context: with several GPUs a thread may stand in another one's.</summary>
    /// <param name="context">The context.</param>
    /// <param name="mayStay">
    /// Whether a thread that stands in none may stay in this one, as it does where the framework's own kernel comes first: its products would have to look for one, and say so.
    /// </param>
    /// <returns>Whether to go back out, to be told to <see cref="Leave"/>.</returns>
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

    /// <summary>Goes back out of it.</summary>
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

    /// <summary>Throws what a function answers, unless it succeeded.</summary>
    /// <exception cref="CudaException">The answer is not 0.</exception>
    public void Check(int error, string what)
    {
        if (error != 0)
        {
            byte* name;
            string text = _errorName(error, &name) == 0 ? Marshal.PtrToStringUTF8((nint)name)! : error.ToString(System.Globalization.CultureInfo.InvariantCulture);
            throw new CudaException($"The GPU's driver answers {text} to {what}.");
        }
    }
}
