namespace DispLlm.Checkpoints;

/// <summary>
/// A folder that appears whole or not at all. It is written beside its target under another name, and renamed by <see cref="Complete"/>.
/// What a killed writer of the same target left is removed. Not thread-safe.
/// </summary>
internal sealed class AtomicFolder : IDisposable
{
    private readonly string _target;
    private readonly FileStream _lock;

    /// <summary>Refuses a target that holds files, before any work.</summary>
    /// <param name="path">Path of the target. A link is followed.</param>
    /// <returns>The target's full path.</returns>
    /// <exception cref="DispLlmException">The target is a file, or a folder that is not empty.</exception>
    public static string EnsureNew(string path)
    {
        string target = PartialPath.Resolve(path);
        return File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any())
            ? throw new DispLlmException(
                $"{target} exists and is not empty. Nothing is overwritten: choose another folder, or remove it first.")
            : target;
    }

    /// <summary>Begins a folder.</summary>
    /// <param name="path">Path of the target: nothing, an empty folder, or a link to either. A link is followed.</param>
    public AtomicFolder(string path)
    {
        _target = PartialPath.Resolve(path);
        Directory.CreateDirectory(Path.GetDirectoryName(_target) ?? _target);
        PartialPath.RemoveAbandoned(_target);
        Partial = PartialPath.Create(_target);
        _lock = PartialPath.LockFolder(Partial);
        try
        {
            Directory.CreateDirectory(Partial);
        }
        catch
        {
            _lock.Dispose();
            throw;
        }
    }

    /// <summary>Full path of the folder while it is written.</summary>
    public string Partial { get; }

    /// <summary>Gives the folder the target's name.</summary>
    /// <exception cref="IOException">The target has files by now.</exception>
    public void Complete()
    {
        if (Directory.Exists(_target))
        {
            Directory.Delete(_target);
        }

        Directory.Move(Partial, _target);
    }

    /// <summary>Deletes the folder, unless it was completed.</summary>
    public void Dispose()
    {
        try
        {
            if (Directory.Exists(Partial))
            {
                Directory.Delete(Partial, recursive: true);
            }
        }
        finally
        {
            _lock.Dispose();
        }
    }
}
