using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>
/// The rise of the process's resident memory during some work. The system keeps one peak for the life of a process. Only Linux lets it be
/// reset, so only there the peak of one piece of work is known.
/// </summary>
internal static partial class PeakResidentMemory
{
    private const string ResetFile = "/proc/self/clear_refs";

    /// <summary>
    /// Bytes above the resident memory before; null where the system does not report them, or tensors are not in host memory.
    /// </summary>
    public static long? During(bool onHost, Action work)
    {
        bool measured = onHost && OperatingSystem.IsLinux() && TryReset();
        long before = measured ? ReadStatus("VmRSS") : 0;
        work();
        return measured ? Math.Max(0, ReadStatus("VmHWM") - before) : null;
    }

    private static bool TryReset()
    {
        try
        {
            // Free memory that the allocator keeps would be reused, and not be counted.
            _ = MallocTrim(0);
            File.WriteAllText(ResetFile, "5");
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or EntryPointNotFoundException or DllNotFoundException)
        {
            return false;
        }
    }

    private static long ReadStatus(string key)
    {
        string line = File.ReadLines("/proc/self/status").First(line => line.StartsWith(key, StringComparison.Ordinal));
        string number = line[(key.Length + 1)..].Replace("kB", string.Empty, StringComparison.Ordinal).Trim();
        return 1024 * long.Parse(number, NumberStyles.None, CultureInfo.InvariantCulture);
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int MallocTrim(nuint pad);
}
