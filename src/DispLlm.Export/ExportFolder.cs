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
        target = PartialPath.Resolve(target);
        if (File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
        {
            throw new DispLlmException(
                $"{target} exists and is not empty. Nothing is overwritten: choose another folder, or remove it first.");
        }

        using var folder = new AtomicFolder(target);
        var notes = write(folder.Partial);
        long bytes = new DirectoryInfo(folder.Partial).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);
        folder.Complete();
        return new ExportResult(target, bytes, notes);
    }

    /// <summary>Copies the files of tokenizer and generation.</summary>
    public static void CopyTokenizer(CheckpointFolder source, string target)
    {
        foreach (string file in source.TokenizerFiles)
        {
            AtomicFile.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        }
    }
}
