using System.Runtime.InteropServices;

namespace DispLlm.Cutting;

/// <summary>The machine of the measurements.</summary>
internal static class Machine
{
    public static void Print(TextWriter output)
    {
        string processor = File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(
                line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "unknown processor"
            : RuntimeInformation.ProcessArchitecture.ToString();
        string load = File.Exists("/proc/loadavg")
            ? $", load average {string.Join(' ', File.ReadAllText("/proc/loadavg").Split(' ')[..3])}"
            : string.Empty;
        output.WriteLine(
            $"{processor}, {Environment.ProcessorCount} cores, {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1e9:F0} GB, "
            + $"{RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}{load}.\n");
    }

    /// <summary>Peak resident memory of this process in bytes, including mapped pages.</summary>
    public static long PeakResidentBytes()
    {
        string line = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]) * 1024;
    }
}
