using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary>The exit code and output of a run of the tool.</summary>
public sealed record Outcome(int ExitCode, string Out, string Error)
{
    public JsonObject Json => (JsonObject)JsonNode.Parse(Out)!;

    /// <summary>Asserts the exit code; the message shows the output.</summary>
    public Outcome With(int exitCode)
    {
        Assert.True(ExitCode == exitCode, $"Exit code {ExitCode} instead of {exitCode}.\n{Out}\n{Error}");
        return this;
    }
}

/// <summary>The tool as a child process.</summary>
public sealed class ToolProcess : IDisposable
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(3);

    private readonly Process _process;
    private readonly StringBuilder _error = new();
    private readonly TaskCompletionSource _lineSeen = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task<string> _out;
    private readonly Task _errorReader;

    private ToolProcess(ProcessStartInfo start, string? untilLine)
    {
        _process = Process.Start(start)!;
        _process.StandardInput.Close();
        _out = _process.StandardOutput.ReadToEndAsync();
        _errorReader = Task.Run(async () =>
        {
            while (await _process.StandardError.ReadLineAsync() is { } line)
            {
                _error.Append(line).Append('\n');
                if (untilLine is not null && line.StartsWith(untilLine, StringComparison.Ordinal))
                {
                    _lineSeen.TrySetResult();
                }
            }

            _lineSeen.TrySetResult();
        });
    }

    /// <summary>The tool, built in the configuration of this test project.</summary>
    public static string Program { get; } = Path.Combine(
        Repository.Root, "src/DispLlm.Tool",
        Path.GetRelativePath(Path.Combine(Repository.Root, "tests/DispLlm.Tool.Tests"), AppContext.BaseDirectory), "DispLlm.Tool.dll");

    /// <summary>Runs the tool and sends it a signal after a line of the standard error that begins with <paramref name="line"/>.</summary>
    public static Task<Outcome> InterruptAsync(string folder, string signal, string line, params string[] arguments) =>
        InterruptAsync(folder, signal, tool => tool._lineSeen.Task, line, arguments);

    /// <summary>Runs the tool and sends it a signal when a file of this name is anywhere in the folder.</summary>
    public static Task<Outcome> InterruptAtFileAsync(string folder, string signal, string file, params string[] arguments) =>
        InterruptAsync(
            folder,
            signal,
            async tool =>
            {
                while (!tool._process.HasExited && !Directory.EnumerateFiles(folder, file, SearchOption.AllDirectories).Any())
                {
                    await Task.Delay(1);
                }
            },
            null,
            arguments);

    /// <summary>Runs the tool and does something after a line of the standard error that begins with <paramref name="line"/>.</summary>
    public static async Task<Outcome> RunAsync(string folder, string line, Action meanwhile, params string[] arguments)
    {
        using var tool = new ToolProcess(CreateStartInfo(folder, "dotnet", [Program, .. arguments]), line);
        await tool._lineSeen.Task.WaitAsync(s_timeout);
        meanwhile();
        return await tool.WaitForOutcomeAsync();
    }

    /// <summary>Runs the tool where no file can be larger than 4 MB, as on a disk that is full; null where that cannot be had.</summary>
    public static async Task<Outcome?> RunOnFullDiskAsync(string folder, params string[] arguments)
    {
        if (!File.Exists("/bin/bash"))
        {
            return null;
        }

        var start = CreateStartInfo(
            folder, "/bin/bash", ["-c", "ulimit -f 4000; trap '' XFSZ; exec \"$@\"", "bash", "dotnet", Program, .. arguments]);

        // The runtime keeps code that it compiles in a file larger than that, unless told otherwise.
        start.Environment["DOTNET_EnableWriteXorExecute"] = "0";
        using var tool = new ToolProcess(start, null);
        return await tool.WaitForOutcomeAsync();
    }

    /// <summary>Runs the tool on a pseudo-terminal; null where /usr/bin/script is missing.</summary>
    public static async Task<Outcome?> RunOnTerminalAsync(string folder, bool wantsColor, params string[] arguments)
    {
        if (!File.Exists("/usr/bin/script"))
        {
            return null;
        }

        var start = CreateStartInfo(folder, "/usr/bin/script", ["-qec", $"dotnet {Program} {string.Join(' ', arguments)}", "/dev/null"]);
        start.Environment["TERM"] = "xterm-256color";
        start.Environment["NO_COLOR"] = wantsColor ? null : "1";
        using var tool = new ToolProcess(start, null);
        return await tool.WaitForOutcomeAsync();
    }

    /// <summary>
    /// Runs the tool on a pseudo-terminal that is closed when a file of this name is written in the folder, and waits until the tool ends;
    /// false where /usr/bin/script is missing.
    /// </summary>
    public static async Task<bool> CloseTerminalAsync(string folder, string file, params string[] arguments)
    {
        if (!File.Exists("/usr/bin/script"))
        {
            return false;
        }

        var start = CreateStartInfo(
            folder, "/usr/bin/script", ["-qec", $"exec dotnet {Program} {string.Join(' ', arguments)}", "/dev/null"]);
        start.Environment["TERM"] = "xterm-256color";
        using var tool = new ToolProcess(start, null);
        while (!Directory.EnumerateFiles(folder, file, SearchOption.AllDirectories).Any(found => new FileInfo(found).Length > 0))
        {
            await Task.Delay(10);
        }

        tool._process.Kill();

        // The tool is no child of this process: it has ended when it holds its lock no more.
        string own = Directory.EnumerateFiles(folder, "run.lock", SearchOption.AllDirectories).Single();
        for (var limit = Stopwatch.StartNew(); limit.Elapsed < s_timeout; await Task.Delay(50))
        {
            try
            {
                using var free = new FileStream(own, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                return true;
            }
            catch (IOException)
            {
            }
        }

        throw new TimeoutException("The tool outlived its terminal.");
    }

    private static async Task<Outcome> InterruptAsync(
        string folder, string signal, Func<ToolProcess, Task> when, string? line, string[] arguments)
    {
        // A test runner in the background may ignore interrupts, and a child inherits that: reset it.
        var start = OperatingSystem.IsLinux() && signal != "KILL"
            ? CreateStartInfo(folder, "/usr/bin/env", [$"--default-signal={signal}", "dotnet", Program, .. arguments])
            : CreateStartInfo(folder, "dotnet", [Program, .. arguments]);
        using var tool = new ToolProcess(start, line);
        await when(tool).WaitAsync(s_timeout);
        using (var kill = Process.Start("kill", ["-s", signal, $"{tool._process.Id}"]))
        {
            await kill.WaitForExitAsync();
        }

        return await tool.WaitForOutcomeAsync();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        _process.Dispose();
    }

    private static ProcessStartInfo CreateStartInfo(string folder, string program, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // The model is so small that threads only wait for each other.
        start.Environment["OMP_NUM_THREADS"] = "1";
        return start;
    }

    private async Task<Outcome> WaitForOutcomeAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(s_timeout);
        await _errorReader;
        return new Outcome(_process.ExitCode, await _out, _error.ToString());
    }
}
