using System.Diagnostics;
using System.Globalization;

namespace DispLlm.Cutting;

/// <summary>One cut in a process of its own, so that its peak memory is its own.</summary>
/// <param name="Seconds">Time of the builder, from its call to its return: everything is on the disk by then.</param>
/// <param name="PeakBytes">The most memory that the process had resident, the runtime and what was mapped counted.</param>
internal sealed record CutRun(double Seconds, long PeakBytes)
{
    public const string Verb = "one-cut";

    /// <summary>Cuts in this process and tells the other one.</summary>
    public static void Go(string source, string plan, string target)
    {
        var builder = new PrunedModelBuilder(source, SelectionPlan.Load(plan));
        double seconds = Disk.Seconds(() => builder.BuildAsync(target).GetAwaiter().GetResult());
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{seconds} {Machine.PeakResidentBytes()}"));
    }

    /// <summary>Starts a process, and waits for what it tells.</summary>
    public static CutRun Start(string source, string plan, string target)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, [Verb, source, plan, target]) { RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        string[] told = process.StandardOutput.ReadToEnd().Split(' ', StringSplitOptions.TrimEntries);
        process.WaitForExit();
        return process.ExitCode == 0
            ? new CutRun(double.Parse(told[0], CultureInfo.InvariantCulture), long.Parse(told[1], CultureInfo.InvariantCulture))
            : throw new IOException($"The cut ended with {process.ExitCode}.");
    }
}
