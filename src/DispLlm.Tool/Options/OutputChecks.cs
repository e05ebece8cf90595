namespace DispLlm.Tool;

/// <summary>Rejects outputs that exist or cannot be written, before any work.</summary>
internal static class OutputChecks
{
    /// <summary>The folders that a path is in, the innermost first.</summary>
    public static IEnumerable<string> GetParents(string path)
    {
        for (string? parent = PartialPath.Resolve(path); (parent = Path.GetDirectoryName(parent)) is not null;)
        {
            yield return parent;
        }
    }

    /// <summary>Rejects a folder that holds files or cannot be written.</summary>
    public static void EnsureNewFolder(string path)
    {
        string target = PartialPath.Resolve(path);
        if (File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
        {
            throw Exists(path);
        }

        if (DiskSpace.GetDisk(target) == target)
        {
            throw new ToolException($"{path} is a disk of its own, and the complete folder cannot take its name: give a folder in it.");
        }

        EnsureWritable(path);
    }

    /// <summary>Rejects a file that exists or cannot be written.</summary>
    public static void EnsureNewFile(string path)
    {
        if (Directory.Exists(path) || Path.EndsInDirectorySeparator(path))
        {
            throw new ToolException($"{path} is a folder: give a file.");
        }

        if (File.Exists(PartialPath.Resolve(path)))
        {
            throw Exists(path);
        }

        EnsureWritable(path);
    }

    /// <summary>Creates the folder of a file.</summary>
    public static void CreateParent(string file) => Directory.CreateDirectory(GetParents(file).First());

    private static ToolException Exists(string path) =>
        new($"{path} already exists, and is not overwritten: give another path, or remove it first.");

    /// <summary>
    /// Begins a file of this name, which also removes what a killed run left of it; or one where its folder is to be created.
    /// </summary>
    private static void EnsureWritable(string path)
    {
        string target = PartialPath.Resolve(path), existing = GetParents(path).FirstOrDefault(Path.Exists) ?? target;
        try
        {
            new AtomicFile(existing == Path.GetDirectoryName(target) ? target : Path.Combine(existing, "displlm")).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            string reason = File.Exists(existing) ? $"{existing} is a file" : e.Message.TrimEnd('.');
            throw new ToolException($"{path} cannot be written: {reason}. Give another path.", e);
        }
    }
}
