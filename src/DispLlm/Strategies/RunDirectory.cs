namespace DispLlm;

/// <summary>
/// A folder in which a run that learns keeps its state and its log. Killed at any moment and started again, the run ends with the same
/// plan. An immutable value; one run uses the folder at a time.
/// </summary>
/// <param name="Path">The folder; it is created where there is none.</param>
public sealed record RunDirectory(string Path)
{
    /// <summary>Steps between two saves. Default 25; at least 1. A save writes three times the hypernetwork's size.</summary>
    public int EverySteps { get; init; } = 25;

    /// <summary>The file of the state, <c>state.safetensors</c> in <see cref="Path"/>.</summary>
    public string StateFile => System.IO.Path.Combine(Path, "state.safetensors");

    /// <summary>The file of the log, <c>steps.jsonl</c> in <see cref="Path"/>: one line per step.</summary>
    public string LogFile => System.IO.Path.Combine(Path, "steps.jsonl");

    /// <summary>Whether there is a state to resume from.</summary>
    public bool HasState => File.Exists(StateFile);

    /// <summary>The file that a run locks while it lives.</summary>
    internal string LockFile => System.IO.Path.Combine(Path, "run.lock");

    /// <summary>Removes what the run left, once its result is safe; and the folder, where nothing else is in it.</summary>
    /// <exception cref="IOException">A file cannot be removed, or a run uses the folder at this moment.</exception>
    public void Remove()
    {
        foreach (string file in (string[])[StateFile, LogFile, LockFile])
        {
            if (File.Exists(file))
            {
                File.Delete(file);
            }
        }

        if (Directory.Exists(Path) && !Directory.EnumerateFileSystemEntries(Path).Any())
        {
            Directory.Delete(Path);
        }
    }
}
