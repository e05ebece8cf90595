namespace DispLlm.Export;

/// <summary>The folder that an export writes: it appears whole or not at all.</summary>
internal static class ExportFolder
{
    /// <summary>Writes a folder.</summary>
    /// <param name="target">Path of the folder: nothing yet, or an empty folder.</param>
    /// <param name="write">Writes its files into a folder of another name, and returns the notes of the result.</param>
    /// <exception cref="DispLlmException">The target holds files.</exception>
    public static ExportResult Write(string target, Func<string, IReadOnlyList<string>> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(target);
        target = AtomicFolder.EnsureNew(target);
        using var folder = new AtomicFolder(target);
        var notes = write(folder.Partial);
        long bytes = new DirectoryInfo(folder.Partial).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);
        folder.Complete();
        return new ExportResult(target, bytes, notes);
    }
}
