namespace DispLlm.Tool;

/// <summary>
/// The run directory of a command: the library's state, the command line that it belongs to, and the plan. It is locked while the command
/// runs. If nothing was computed, nothing of it is left.
/// </summary>
internal sealed class CommandRun : IDisposable
{
    private const string CommandFile = "command.txt";

    private readonly RunLock _lock;
    private readonly string[] _created;

    private CommandRun(RunDirectory directory, RunLock own, string[] created)
    {
        Directory = directory with { IsLocked = true };
        _lock = own;
        _created = created;
    }

    public RunDirectory Directory { get; }

    public string PlanFile => GetPlanFile(Directory.Path);

    /// <summary>Where text that the report is evaluated on is kept.</summary>
    public string TestFile => Path.Combine(Directory.Path, "test.safetensors");

    /// <summary>Creates and locks the folder, or that of a command that was stopped.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="args">The command line.</param>
    /// <param name="settings">All that the output follows from.</param>
    /// <exception cref="CheckpointException">It cannot be written, or another command uses it.</exception>
    public static CommandRun Open(string folder, IReadOnlyList<string> args, string settings)
    {
        string[] created = [.. OutputChecks.GetParents(folder).TakeWhile(parent => !System.IO.Directory.Exists(parent))];
        var directory = new RunDirectory(folder);
        var run = new CommandRun(directory, RunLock.Acquire(directory), created);
        try
        {
            string line = ShellCommand.Format(args), place = ShellCommand.Quote(Environment.CurrentDirectory);
            AtomicFile.Write(
                Path.Combine(folder, CommandFile),
                "This folder keeps what a command has done. Run it again to resume, or delete the folder to begin anew.\n"
                    + $"cd {place}\n{line}\n\n{settings}\n");
            return run;
        }
        catch
        {
            run.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Whether a pruned folder was written by a run that did not end: the run has these settings, and its plan is that of the folder.
    /// </summary>
    public static bool HasWritten(string run, string settings, string output)
    {
        string command = Path.Combine(run, CommandFile), plan = GetPlanFile(run), written = Path.Combine(output, SelectionPlan.FileName);
        return File.Exists(command) && File.Exists(plan) && File.Exists(written)
            && File.ReadAllText(command).EndsWith($"\n\n{settings}\n", StringComparison.Ordinal)
            && File.ReadAllBytes(plan).AsSpan().SequenceEqual(File.ReadAllBytes(written));
    }

    /// <summary>Removes the run, once its result is safe.</summary>
    public void Remove()
    {
        _lock.Dispose();
        foreach (string file in (string[])[Path.Combine(Directory.Path, CommandFile), PlanFile, TestFile])
        {
            File.Delete(file);
        }

        Directory.Remove();
        foreach (string parent in _created.Where(System.IO.Directory.Exists))
        {
            if (!System.IO.Directory.EnumerateFileSystemEntries(parent).Any())
            {
                System.IO.Directory.Delete(parent);
            }
        }
    }

    public void Dispose()
    {
        _lock.Dispose();
        if (System.IO.Directory.Exists(Directory.Path) && !Directory.HasState && !File.Exists(PlanFile))
        {
            Remove();
        }
    }

    private static string GetPlanFile(string folder) => Path.Combine(folder, SelectionPlan.FileName);
}
