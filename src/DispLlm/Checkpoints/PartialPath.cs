namespace DispLlm.Checkpoints;

/// <summary>
/// The name under which a file or a folder is written beside its target, <c>{target}.{32 digits}.part</c>, until it is complete. Its writer
/// holds a lock: on the file itself, or on <c>{name}.lock</c> beside the folder. What a killed writer left is not locked.
/// </summary>
internal static class PartialPath
{
    private const string Extension = ".part";
    private const string LockExtension = ".lock";

    /// <summary>A new name; random, since two runs that write the same target must not write into each other's files.</summary>
    public static string Create(string target) => $"{target}.{Guid.NewGuid():N}{Extension}";

    /// <summary>
    /// Locks a folder before it is created, and until it is renamed. The lock is beside it: not every system renames a folder with an open
    /// file.
    /// </summary>
    public static FileStream LockFolder(string partial) =>
        new(partial + LockExtension, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);

    /// <summary>Full path that a path leads to. A link is followed, even where nothing is at its end yet.</summary>
    public static string Resolve(string path)
    {
        path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return new FileInfo(path).LinkTarget is null ? path : File.ResolveLinkTarget(path, returnFinalTarget: true)!.FullName;
    }

    /// <summary>Removes what killed writers of a target left. What a living writer has locked stays, and what cannot be removed.</summary>
    public static void RemoveAbandoned(string target)
    {
        if (Path.GetDirectoryName(target) is not { } folder || !Directory.Exists(folder))
        {
            return;
        }

        string[] abandoned =
        [
            .. Directory.EnumerateFileSystemEntries(folder, "*", new EnumerationOptions { IgnoreInaccessible = true, AttributesToSkip = 0 })
                .Select(entry => entry.EndsWith(LockExtension, StringComparison.Ordinal) ? entry[..^LockExtension.Length] : entry)
                .Where(entry => IsPartial(entry, target))
                .Distinct(),
        ];
        foreach (string partial in abandoned)
        {
            try
            {
                Remove(partial);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
            }
        }
    }

    private static bool IsPartial(string entry, string target)
    {
        ReadOnlySpan<char> name = Path.GetFileName(entry.AsSpan()), prefix = Path.GetFileName(target.AsSpan());
        return name.StartsWith(prefix, StringComparison.Ordinal) && name.EndsWith(Extension, StringComparison.Ordinal)
            && name.Length == prefix.Length + 1 + 32 + Extension.Length && name[prefix.Length] == '.'
            && Guid.TryParseExact(name.Slice(prefix.Length + 1, 32), "N", out _);
    }

    private static void Remove(string partial)
    {
        if (File.Exists(partial))
        {
            new FileStream(partial, FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose).Dispose();
            return;
        }

        using var own = LockFolder(partial);
        if (Directory.Exists(partial))
        {
            Directory.Delete(partial, recursive: true);
        }
    }
}
