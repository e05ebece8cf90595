using System.Runtime.InteropServices;

namespace DispLlm;

/// <summary>
/// The memory that a GPU has left, as its driver counts it: TorchSharp does not tell. What the framework has taken from the driver and keeps for its next tensors counts as used.
/// </summary>
internal static unsafe class CudaMemory
{
    private static readonly string[] s_names = OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];

    // Functions of a library that stays in the process, as long as the process lasts.
    private static readonly Lazy<Driver?> s_driver = new(Driver.Load);

    /// <summary>Free bytes of a GPU, numbered as this process sees them; null where the driver does not tell.</summary>
    public static long? FreeBytes(int device) => s_driver.Value?.FreeBytes(device);

    /// <summary>The few functions of the driver that it takes. Each returns 0 where it succeeds.</summary>
    private sealed class Driver
    {
        private readonly delegate* unmanaged<int*, int, int> _device;
        private readonly delegate* unmanaged<nint*, int, int> _retainContext;
        private readonly delegate* unmanaged<int, int> _releaseContext;
        private readonly delegate* unmanaged<nint, int> _pushContext;
        private readonly delegate* unmanaged<nint*, int> _popContext;
        private readonly delegate* unmanaged<nuint*, nuint*, int> _memory;

        private Driver(nint library)
        {
            nint Function(string name) => NativeLibrary.GetExport(library, name);

            _device = (delegate* unmanaged<int*, int, int>)Function("cuDeviceGet");
            _retainContext = (delegate* unmanaged<nint*, int, int>)Function("cuDevicePrimaryCtxRetain");
            _releaseContext = (delegate* unmanaged<int, int>)Function("cuDevicePrimaryCtxRelease_v2");
            _pushContext = (delegate* unmanaged<nint, int>)Function("cuCtxPushCurrent_v2");
            _popContext = (delegate* unmanaged<nint*, int>)Function("cuCtxPopCurrent_v2");
            _memory = (delegate* unmanaged<nuint*, nuint*, int>)Function("cuMemGetInfo_v2");
        }

        public static Driver? Load()
        {
            foreach (string name in s_names)
            {
                if (NativeLibrary.TryLoad(name, out nint library)
                    && NativeLibrary.TryGetExport(library, "cuInit", out nint initialise)
                    && ((delegate* unmanaged<uint, int>)initialise)(0) == 0)
                {
                    return new Driver(library);
                }
            }

            return null;
        }

        public long? FreeBytes(int device)
        {
            int handle;
            nint context, popped;

            // The context is the one that the framework computes in; it is made here where nothing has been computed yet.
            if (_device(&handle, device) != 0 || _retainContext(&context, handle) != 0)
            {
                return null;
            }

            nuint free = 0, total;
            bool told = _pushContext(context) == 0;
            if (told)
            {
                told = _memory(&free, &total) == 0;
                _ = _popContext(&popped);
            }

            _ = _releaseContext(handle);
            return told ? (long)free : null;
        }
    }
}
