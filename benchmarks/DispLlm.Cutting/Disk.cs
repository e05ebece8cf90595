using System.Diagnostics;

namespace DispLlm.Cutting;

/// <summary>
/// Files as the disk sees them: copied by the system's own program, brought to the disk, dropped from the system's cache.
/// </summary>
internal static class Disk
{
    public static void EnsureFree(string folder, double bytes)
    {
        long free = new DriveInfo(folder).AvailableFreeSpace;
        if (free < bytes * 1.2)
        {
            throw new IOException(
                $"{folder} has {free / 1e9:F1} GB free, and {bytes * 1.2 / 1e9:F1} GB are needed: use fewer blocks, or another folder.");
        }
    }

    public static long MeasureSize(string folder) => Directory.GetFiles(folder).Sum(file => new FileInfo(file).Length);

    public static void Copy(string source, string target) => Run("cp", "--reflink=never", "-r", source, target);

    public static void Flush(string folder)
    {
        foreach (string file in Directory.GetFiles(folder))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite);
            stream.Flush(flushToDisk: true);
        }
    }

    /// <summary>Drops the files of a folder from the system's cache. They must be on the disk.</summary>
    public static void Drop(string folder)
    {
        foreach (string file in Directory.GetFiles(folder))
        {
            Run("dd", $"if={file}", "iflag=nocache", "count=0", "status=none");
        }
    }

    /// <summary>Reads the files of a folder into the system's cache.</summary>
    public static void Warm(string folder)
    {
        foreach (string file in Directory.GetFiles(folder))
        {
            using var stream = File.OpenRead(file);
            stream.CopyTo(Stream.Null, 1 << 20);
        }
    }

    public static double Seconds(Action action)
    {
        var watch = Stopwatch.StartNew();
        action();
        return watch.Elapsed.TotalSeconds;
    }

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new IOException($"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}.");
        }
    }
}
