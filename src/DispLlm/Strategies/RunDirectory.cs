namespace DispLlm;

/// <summary>
/// A folder in which a run keeps what it has done: the text that it sampled, what it measured, what it learned, and its log. Killed at any
/// moment and started again, the run ends with the same plan. An immutable value; one run uses the folder at a time.
/// </summary>
/// <param name="Path">The folder; it is created where there is none.</param>
public sealed record RunDirectory(string Path)
{
    /// <summary>
    /// Learning steps between two saves. Default 25; at least 1. A save writes three times the hypernetwork's size. What is measured,
    /// which is less, is saved after every sequence, and sampled text after every batch.
    /// </summary>
    public int EverySteps { get; init; } = 25;

    /// <summary>The file of what is learned, <c>state.safetensors</c> in <see cref="Path"/>.</summary>
    public string StateFile => System.IO.Path.Combine(Path, "state.safetensors");

    /// <summary>The file of the log, <c>steps.jsonl</c> in <see cref="Path"/>: one line per step.</summary>
    public string LogFile => System.IO.Path.Combine(Path, "steps.jsonl");

    /// <summary>Whether there is anything to resume from.</summary>
    public bool HasState => File.Exists(StateFile) || File.Exists(MeasuredFile) || File.Exists(TextFile);

    /// <summary>The file of what is measured.</summary>
    internal string MeasuredFile => System.IO.Path.Combine(Path, "measured.safetensors");

    /// <summary>The file of the text that is sampled.</summary>
    internal string TextFile => System.IO.Path.Combine(Path, "text.safetensors");

    /// <summary>The file that a run locks while it lives.</summary>
    internal string LockFile => System.IO.Path.Combine(Path, "run.lock");

    /// <summary>Whether the caller of the run has locked the folder.</summary>
    internal bool IsLocked { get; init; }

    /// <summary>Removes what the run left, once its result is safe; and the folder, where nothing else is in it.</summary>
    /// <exception cref="IOException">A file cannot be removed, or a run uses the folder at this moment.</exception>
    public void Remove()
    {
        if (!Directory.Exists(Path))
        {
            return;
        }

        foreach (string file in (string[])[StateFile, MeasuredFile, TextFile, LogFile, LockFile])
        {
            PartialPath.RemoveAbandoned(System.IO.Path.GetFullPath(file));
            File.Delete(file);
        }

        if (!Directory.EnumerateFileSystemEntries(Path).Any())
        {
            Directory.Delete(Path);
        }
    }
}
