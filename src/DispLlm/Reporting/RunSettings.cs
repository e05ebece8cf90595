using System.Reflection;

namespace DispLlm.Reporting;

/// <summary>
/// The settings of a run that its plan does not record; together with the plan (budget, seed, strategy, width multiple, norm order) they
/// reproduce the run. Immutable and thread-safe.
/// </summary>
public sealed record RunSettings
{
    /// <summary>The options of the strategy by name, as text. Default: empty, for unknown.</summary>
    public IReadOnlyDictionary<string, string> Options { get; init; } = new Dictionary<string, string>();

    /// <summary>The calibration text (<see cref="TokenCorpus.Description"/>). Default: null, for none.</summary>
    public string? Calibration { get; init; }

    /// <summary>Device and compute type. Default: null, for unknown.</summary>
    public string? Backend { get; init; }

    /// <summary>The version of the library. Default: the version of this assembly.</summary>
    public string Library { get; init; } = Version;

    private static string Version { get; } =
        typeof(RunSettings).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
}
