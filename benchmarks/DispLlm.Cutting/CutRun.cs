using System.Diagnostics;
using System.Globalization;

namespace DispLlm.Cutting;

/// <summary>One cut in a process of its own, to measure its peak memory.</summary>
/// <param name="Seconds">Time of the builder, which returns when everything is on the disk.</param>
/// <param name="PeakBytes">Peak resident memory of the process, including the runtime and mapped files.</param>
internal sealed record CutRun(double Seconds, long PeakBytes)
{
    public const string CommandName = "one-cut";

    /// <summary>Cuts in this process and prints the result for the parent process.</summary>
    public static void Run(string source, string plan, string target)
    {
        var builder = new PrunedModelBuilder(source, SelectionPlan.Load(plan));
        double seconds = Disk.Seconds(() => builder.BuildAsync(target).GetAwaiter().GetResult());
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{seconds} {Machine.PeakResidentBytes()}"));
    }

    /// <summary>Starts a process and reads its result.</summary>
    public static CutRun Start(string source, string plan, string target)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, [CommandName, source, plan, target]) { RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        string[] output = process.StandardOutput.ReadToEnd().Split(' ', StringSplitOptions.TrimEntries);
        process.WaitForExit();
        return process.ExitCode == 0
            ? new CutRun(double.Parse(output[0], CultureInfo.InvariantCulture), long.Parse(output[1], CultureInfo.InvariantCulture))
            : throw new IOException($"The cut ended with {process.ExitCode}.");
    }
}
