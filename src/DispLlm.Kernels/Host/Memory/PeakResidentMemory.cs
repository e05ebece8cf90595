using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>
/// How far the process's resident memory rises during some work. The system keeps one highest value for the whole life of a process; only where it lets that be set back, on Linux, can the
/// peak of one piece of work be told from that of another.
/// </summary>
internal static partial class PeakResidentMemory
{
    private const string SetBack = "/proc/self/clear_refs";

    /// <summary>Bytes above what was resident before; null where the system does not tell, or the tensors are not in the process's memory.</summary>
    public static long? During(bool onHost, Action work)
    {
        bool measured = onHost && OperatingSystem.IsLinux() && TrySetBack();
        long before = measured ? ReadStatus("VmRSS") : 0;
        work();
        return measured ? Math.Max(0, ReadStatus("VmHWM") - before) : null;
    }

    private static bool TrySetBack()
    {
        try
        {
            // Memory that was freed and kept by the allocator would be used again without a trace.
            _ = MallocTrim(0);
            File.WriteAllText(SetBack, "5");
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
        return 1024 * long.Parse(line[(key.Length + 1)..].Replace("kB", string.Empty, StringComparison.Ordinal), NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int MallocTrim(nuint pad);
}
