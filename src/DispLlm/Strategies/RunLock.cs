namespace DispLlm.Training;

/// <summary>
/// The lock on a run directory: two runs in one would mix their states. The system releases it with the process, however that ends.
/// </summary>
internal sealed class RunLock : IDisposable
{
    private readonly FileStream _file;

    private RunLock(FileStream file) => _file = file;

    /// <summary>Creates the folder where there is none, and locks it.</summary>
    /// <exception cref="CheckpointException">It cannot be written, or another run uses it.</exception>
    public static RunLock Acquire(RunDirectory directory)
    {
        try
        {
            Directory.CreateDirectory(directory.Path);
            return new RunLock(new FileStream(directory.LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Refusal(directory.Path, e);
        }
    }

    public static CheckpointException Refusal(string folder, Exception reason) => new(
        Path.GetFullPath(folder), null,
        $"the run cannot keep its state here: {reason.Message} Is another run using the folder? Give each run a folder of its own that can "
            + "be written.", reason);

    public void Dispose() => _file.Dispose();
}
