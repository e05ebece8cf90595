using System.Text.Json.Serialization;

namespace DispLlm.Reporting;

/// <summary>
/// The settings, results and measurements of a pruning run: the data of the page (<see cref="HtmlReport"/>) and of the charts (<see
/// cref="ReportCharts"/>), which leave out what was not measured. Immutable and thread-safe.
/// </summary>
public sealed record RunReport
{
    /// <summary>The version of the report file that is written, and the only one that is read.</summary>
    public const int CurrentFormatVersion = 1;

    /// <summary>The version of the file that this report is saved to.</summary>
    public int FormatVersion { get; } = CurrentFormatVersion;

    /// <summary>The name of the model's folder.</summary>
    public required string Model { get; init; }

    /// <summary>The settings of the run.</summary>
    public required RunSettings Settings { get; init; }

    /// <summary>Perplexity of both models on the same text. Default: null, for not measured.</summary>
    public BeforeAfter<PerplexityResult>? Perplexity { get; init; }

    /// <summary>
    /// The text that the perplexity was evaluated on (<see cref="TokenCorpus.Description"/>). Default: null, for unknown.
    /// </summary>
    public string? PerplexityText { get; init; }

    /// <summary>Zero-shot scores of both models. Default: none.</summary>
    public IReadOnlyList<BeforeAfter<ZeroShotScore>> Tasks { get; init; } = [];

    /// <summary>The pruned model compared with the dense model. Default: null, for not measured.</summary>
    public DistributionComparisonResult? Agreement { get; init; }

    /// <summary>Size of the weights on disk, in bytes (<see cref="MeasureWeightBytes"/>). Default: null, for not measured.</summary>
    public BeforeAfter<long>? WeightBytes { get; init; }

    /// <summary>Prefill speed, in tokens per second (<see cref="Throughput.MeasurePrefill"/>). Default: null, for not measured.</summary>
    public BeforeAfter<double>? Prefill { get; init; }

    /// <summary>Decode speed, in tokens per second (<see cref="Throughput.MeasureDecode"/>). Default: null, for not measured.</summary>
    public BeforeAfter<double>? Decode { get; init; }

    /// <summary>The widths of every block, computed from <see cref="Plan"/>.</summary>
    public IReadOnlyList<SiteMap<int>> Widths => Plan.Widths();

    /// <summary>The overlaps of adjacent blocks, computed from <see cref="Plan"/>.</summary>
    [JsonPropertyName("shared_with_next")]
    public IReadOnlyList<AdjacentBlockOverlap> AdjacentBlockOverlaps => AdjacentBlockOverlap.Compute(Plan);

    /// <summary>One entry per training step; empty for strategies without training.</summary>
    public IReadOnlyList<PruningProgress> History { get; init; } = [];

    /// <summary>The selection plan: kept indices, budget and parameter counts.</summary>
    public required SelectionPlan Plan { get; init; }

    /// <summary>Creates the report of a run, without measurements; add those by <c>with { Perplexity = ... }</c>.</summary>
    /// <param name="result">The result of the run.</param>
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

    /// <summary>Measures the size of the weight files of a checkpoint folder, in bytes.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="CheckpointException">The folder is not a checkpoint.</exception>
    public static long MeasureWeightBytes(string folder)
    {
        using var checkpoint = CheckpointFolder.Open(folder);
        return checkpoint.Shards.Sum(shard => new FileInfo(Path.Combine(checkpoint.FolderPath, shard.FileName)).Length);
    }

    /// <summary>Reads a report file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ReportException">The file is not a valid report; the message names file, key and value.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static RunReport LoadJson(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return RunReportJson.Read(File.ReadAllBytes(path), path);
    }

    /// <summary>Converts the report to JSON. Equal reports give equal text.</summary>
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
