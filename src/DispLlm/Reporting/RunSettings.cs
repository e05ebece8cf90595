using System.Reflection;

namespace DispLlm.Reporting;

/// <summary>What a run was made with, beside what its plan records (budget, seed, strategy, width multiple, norm order): enough to repeat it.</summary>
public sealed record RunSettings
{
    /// <summary>Every option of the strategy by its property's name, as text; empty where it is not known.</summary>
    public IReadOnlyDictionary<string, string> Options { get; init; } = new Dictionary<string, string>();

    /// <summary>The calibration text (<see cref="TokenCorpus.Description"/>); null where there was none.</summary>
    public string? Calibration { get; init; }

    /// <summary>Device and compute type; null where it is not known.</summary>
    public string? Backend { get; init; }

    /// <summary>The version of the library that ran. Default: this one's.</summary>
    public string Library { get; init; } = Version;

    private static string Version { get; } =
        typeof(RunSettings).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
}
