using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary>What a run of the tool came to.</summary>
public sealed record Outcome(int ExitCode, string Out, string Error)
{
    public JsonObject Json => (JsonObject)JsonNode.Parse(Out)!;

    /// <summary>The outcome, if it is that exit code; the test fails with all that was said otherwise.</summary>
    public Outcome With(int exitCode)
    {
        Assert.True(ExitCode == exitCode, $"Exit code {ExitCode} instead of {exitCode}.\n{Out}\n{Error}");
        return this;
    }
}

/// <summary>The real program as a child process, as a user starts it.</summary>
public sealed class ToolProcess : IDisposable
{
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(3);

    private readonly Process _process;
    private readonly StringBuilder _error = new();
    private readonly TaskCompletionSource _told = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task<string> _out;
    private readonly Task _reading;

    private ToolProcess(ProcessStartInfo start, string? untilLine)
    {
        _process = Process.Start(start)!;
        _process.StandardInput.Close();
        _out = _process.StandardOutput.ReadToEndAsync();
        _reading = Task.Run(async () =>
        {
            while (await _process.StandardError.ReadLineAsync() is { } line)
            {
                _error.Append(line).Append('\n');
                if (untilLine is not null && line.StartsWith(untilLine, StringComparison.Ordinal))
                {
                    _told.TrySetResult();
                }
            }

            _told.TrySetResult();
        });
    }

    /// <summary>The tool beside this test project, built alike.</summary>
    public static string Program { get; } = Path.Combine(
        Repository.Root, "src/DispLlm.Tool", Path.GetRelativePath(Path.Combine(Repository.Root, "tests/DispLlm.Tool.Tests"), AppContext.BaseDirectory), "DispLlm.Tool.dll");

    /// <summary>Runs the tool to its end.</summary>
    public static async Task<Outcome> RunAsync(string folder, params string[] arguments)
    {
        using var tool = new ToolProcess(Start(folder, "dotnet", [Program, .. arguments]), null);
        return await tool.EndAsync();
    }

    /// <summary>Runs the tool and sends it a signal once it has written a line that begins so.</summary>
    public static async Task<Outcome> InterruptAsync(string folder, string signal, string line, params string[] arguments)
    {
        // Who runs tests in the background may ignore interrupts, and a child does as its parent: here it is to be as in a shell.
        var start = OperatingSystem.IsLinux()
            ? Start(folder, "/usr/bin/env", [$"--default-signal={signal}", "dotnet", Program, .. arguments])
            : Start(folder, "dotnet", [Program, .. arguments]);
        using var tool = new ToolProcess(start, line);
        await tool._told.Task.WaitAsync(s_longest);
        using (var kill = Process.Start("kill", ["-s", signal, $"{tool._process.Id}"]))
        {
            await kill.WaitForExitAsync();
        }

        return await tool.EndAsync();
    }

    /// <summary>Runs the tool on a terminal of its own; null where this system has no program that makes one.</summary>
    public static async Task<Outcome?> RunOnTerminalAsync(string folder, bool wantsColor, params string[] arguments)
    {
        if (!File.Exists("/usr/bin/script"))
        {
            return null;
        }

        var start = Start(folder, "/usr/bin/script", ["-qec", $"dotnet {Program} {string.Join(' ', arguments)}", "/dev/null"]);
        start.Environment["TERM"] = "xterm-256color";
        start.Environment["NO_COLOR"] = wantsColor ? null : "1";
        using var tool = new ToolProcess(start, null);
        return await tool.EndAsync();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        _process.Dispose();
    }

    private static ProcessStartInfo Start(string folder, string program, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // The model is so small that threads only wait for each other, the longer the busier the machine.
        start.Environment["OMP_NUM_THREADS"] = "1";
        return start;
    }

    private async Task<Outcome> EndAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(s_longest);
        await _reading;
        return new Outcome(_process.ExitCode, await _out, _error.ToString());
    }
}
