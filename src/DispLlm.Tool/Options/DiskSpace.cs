namespace DispLlm.Tool;

/// <summary>Rejects outputs that do not fit their disks, before any work.</summary>
internal static class DiskSpace
{
    /// <summary>About the bytes of a pruned model: the share of the dense weights that is kept.</summary>
    public static long EstimateModel(PrunableModel dense, long keptParameters) => (long)(
        RunReport.MeasureWeightBytes(dense.Folder) * ((double)keptParameters / new ParameterCounter(dense.Spec).Dense.WholeModel));

    /// <summary>The same for a budget.</summary>
    public static long EstimateModel(PrunableModel dense, PruningBudget budget)
    {
        var counter = new ParameterCounter(dense.Spec);
        return EstimateModel(dense, counter.Dense.WholeModel - counter.Dense[budget.Scope] + budget.TargetFor(counter));
    }

    /// <summary>
    /// About the bytes of a run directory: what is measured for each gate, and for a strategy that learns the hypernetwork with its
    /// moments. Twice, since the old state is kept until the new one is complete.
    /// </summary>
    public static long EstimateRun(PrunableModel dense, ISelectionStrategy strategy) =>
        2 * dense.GateLayout.Count * sizeof(float) * (4L + (strategy.Learns() ? 3 * Hypernetwork.FeatureSize : 0));

    /// <summary>Rejects files that do not fit, those on one disk together.</summary>
    /// <param name="files">Paths, and about how many bytes are written there.</param>
    public static void EnsureFor(params IReadOnlyList<(string Path, long Bytes)> files)
    {
        foreach (var disk in files.GroupBy(file => GetDisk(file.Path)).Where(disk => disk.Key is not null))
        {
            long needed = disk.Sum(file => file.Bytes);
            if (GetFreeBytes(disk.Key!) is { } free && free < needed)
            {
                throw new ToolException(
                    $"{string.Join(" and ", disk.Select(file => file.Path))} need about {Formatting.Bytes(needed)}, and {disk.Key} has "
                        + $"{Formatting.Bytes(free)} free. Free some, or give a path on another disk.");
            }
        }
    }

    /// <summary>The root of the disk that a path is on; null if the system does not say.</summary>
    public static string? GetDisk(string path)
    {
        static string AsFolder(string path) => path.TrimEnd(Path.DirectorySeparatorChar) + Path.DirectorySeparatorChar;
        string target = AsFolder(PartialPath.Resolve(path));
        return DriveInfo.GetDrives().Select(drive => drive.RootDirectory.FullName)
            .Where(root => target.StartsWith(AsFolder(root), StringComparison.Ordinal))
            .MaxBy(root => root.Length);
    }

    private static long? GetFreeBytes(string disk)
    {
        try
        {
            return new DriveInfo(disk).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
