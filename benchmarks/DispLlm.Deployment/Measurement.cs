using System.Diagnostics;
using System.Globalization;

namespace DispLlm.Deployment;

/// <summary>What one program makes of one model.</summary>
/// <param name="Prefill">Prompt tokens per second.</param>
/// <param name="Decode">Generated tokens per second.</param>
/// <param name="ResidentBytes">Peak resident memory of a process that does nothing else.</param>
internal sealed record Measurement(double Prefill, double Decode, long ResidentBytes)
{
    /// <summary>The argument by which this program measures one model in a process of its own.</summary>
    public const string Command = "measure-one";

    /// <summary>Measures in a process of its own, so that memory is that of one model and threads are those of one program.</summary>
    public static Measurement InProcess(Runtime runtime, string path, Settings settings)
    {
        string[] numbers = [$"{settings.Threads}", $"{settings.Prompt}", $"{settings.Tokens}"];
        var start = new ProcessStartInfo(Environment.ProcessPath!, [Command, runtime.Name, path, .. numbers])
        {
            RedirectStandardOutput = true,
        };
        start.Environment["OMP_NUM_THREADS"] = numbers[0];
        using var process = Process.Start(start)!;
        string[] fields = process.StandardOutput.ReadToEnd().Trim().Split('\n')[^1].Split(' ');
        process.WaitForExit();
        return process.ExitCode == 0
            ? new Measurement(Number(fields[0]), Number(fields[1]), (long)Number(fields[2]))
            : throw new InvalidOperationException($"{runtime.Name} ended with {process.ExitCode} on {path}.");
    }

    /// <summary>Measures in this process and prints the numbers for the one that started it.</summary>
    public static void Print(string runtimeName, string path, int threads, int prompt, int tokens)
    {
        var runtime = Runtime.All.Single(each => each.Name == runtimeName);
        using var model = runtime.Load(path, threads);
        int[] ids = [.. Enumerable.Range(0, prompt).Select(i => 100 + (i * 37 % 1000))];
        model.Run(ids, tokens);
        var runs = Enumerable.Range(0, 3).Select(_ => model.Run(ids, tokens)).ToList();
        string memory = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
        long resident = long.Parse(memory.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{prompt / runs.Min(run => run.Prefill)} {(tokens - 1) / runs.Min(run => run.Decode)} {resident}"));
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
}
