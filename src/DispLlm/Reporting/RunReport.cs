namespace DispLlm.Reporting;

/// <summary>
/// What one run was asked, what it reached and what that cost: the data behind the page (<see cref="HtmlReport"/>) and the pictures
/// (<see cref="ReportCharts"/>). What was not measured is left out, and neither shows anything for it.
/// </summary>
public sealed record RunReport
{
    /// <summary>The version of the report file that this program writes, and the only one it reads.</summary>
    public const int CurrentFormatVersion = 1;

    /// <summary>The version of the report file that this report is saved as.</summary>
    public int FormatVersion { get; } = CurrentFormatVersion;

    /// <summary>The model, by the name of its folder.</summary>
    public required string Model { get; init; }

    /// <summary>What the run was made with.</summary>
    public required RunSettings Settings { get; init; }

    /// <summary>Perplexity of both models on one text. Default: not measured.</summary>
    public BeforeAfter<PerplexityResult>? Perplexity { get; init; }

    /// <summary>What the perplexity was measured on (<see cref="TokenCorpus.Description"/>). Default: not said.</summary>
    public string? PerplexityText { get; init; }

    /// <summary>Zero-shot tasks that both models did. Default: none.</summary>
    public IReadOnlyList<BeforeAfter<ZeroShotScore>> Tasks { get; init; } = [];

    /// <summary>How closely the pruned model predicts what the dense one predicts. Default: not measured.</summary>
    public DistributionComparisonResult? Agreement { get; init; }

    /// <summary>Size of the weights on disk, in bytes (<see cref="MeasureWeightBytes"/>). Default: not measured.</summary>
    public BeforeAfter<long>? WeightBytes { get; init; }

    /// <summary>Reading speed, in tokens a second (<see cref="Throughput.Prefill"/>). Default: not measured.</summary>
    public BeforeAfter<double>? Prefill { get; init; }

    /// <summary>Writing speed, in tokens a second (<see cref="Throughput.Decode"/>). Default: not measured.</summary>
    public BeforeAfter<double>? Decode { get; init; }

    /// <summary>The widths of every block, in block order; they follow from <see cref="Plan"/>.</summary>
    public IReadOnlyList<SiteMap<int>> Widths => Plan.Widths();

    /// <summary>How much neighbouring blocks share; it follows from <see cref="Plan"/>.</summary>
    public IReadOnlyList<AdjacentBlockOverlap> AdjacentBlockOverlaps => AdjacentBlockOverlap.Compute(Plan);

    /// <summary>One entry a learning step; empty for strategies that do not learn.</summary>
    public IReadOnlyList<PruningProgress> History { get; init; } = [];

    /// <summary>What is kept, what was asked for, and the exact counts.</summary>
    public required SelectionPlan Plan { get; init; }

    /// <summary>The report of a pruning, without measurements: add those with <c>with { Perplexity = ... }</c>.</summary>
    /// <param name="result">The result.</param>
    public static RunReport FromResult(PruningResult result)
    {
        ArgumentNullException.ThrowIfNull(result);
        string folder = Path.TrimEndingDirectorySeparator(result.Folder);
        return new RunReport
        {
            Model = folder.Length > 0 ? Path.GetFileName(Path.GetFullPath(folder)) : result.Family.Name,
            Plan = result.Plan,
            History = result.History,
            Settings = new RunSettings
            {
                Options = result.Strategy.Settings,
                Calibration = result.Calibration?.Description,
                Backend = result.Backend,
            },
        };
    }

    /// <summary>Size of a checkpoint folder's weight files, in bytes.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">It is no checkpoint.</exception>
    public static long MeasureWeightBytes(string folder)
    {
        using var checkpoint = CheckpointFolder.Open(folder);
        return checkpoint.Shards.Sum(shard => new FileInfo(Path.Combine(checkpoint.FolderPath, shard.FileName)).Length);
    }

    /// <summary>Reads a report file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ReportException">The file is no valid report; the message names the file, the key and the value.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static RunReport LoadJson(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return RunReportJson.Read(File.ReadAllBytes(path), path);
    }

    /// <summary>The report as JSON text; the same report always gives the same text.</summary>
    public string ToJson() => RunReportJson.Write(this);

    /// <summary>Saves the report as JSON. A crash leaves the old file or the new one, never a part.</summary>
    /// <param name="path">The file, in a folder that exists; overwritten.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void SaveJson(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        AtomicFile.Write(path, ToJson());
    }
}
