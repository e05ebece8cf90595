namespace DispLlm;

/// <summary>How TorchSharp's native library was loaded.</summary>
public enum NativeTorchOutcome
{
    /// <summary>The package's own file was loaded as it is.</summary>
    Loaded,

    /// <summary>A private copy was loaded, because the system's libstdc++ is older than the package's file requires.</summary>
    LoadedWithRemedy,

    /// <summary>The application had loaded the library before, or the system's search path provides it.</summary>
    AlreadyLoaded,

    /// <summary>The files exist; TorchSharp loads them at first use (Windows and macOS).</summary>
    LeftToTorchSharp,
}

/// <summary>What <see cref="NativeTorch.EnsureLoaded"/> did, for logs and bug reports. Immutable and thread-safe.</summary>
/// <param name="Outcome">How the library was loaded.</param>
/// <param name="Library">The file that was loaded; <see langword="null"/> where DispLlm did not choose it.</param>
/// <param name="PackageLibrary">The package's own file, never changed; <see langword="null"/> where none was looked for.</param>
/// <param name="Reason">The reason, in one sentence.</param>
public sealed record NativeTorchReport(NativeTorchOutcome Outcome, string? Library, string? PackageLibrary, string Reason)
{
    /// <summary>Whether a private copy of the library was loaded in place of the package's file.</summary>
    public bool RemedyApplied => Outcome == NativeTorchOutcome.LoadedWithRemedy;
}
