using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>
/// Loads TorchSharp's native libraries before TorchSharp's static constructor does. Where the system's libstdc++ is older than the package
/// requires, that constructor fails with a misleading message, and cannot run again.
/// </summary>
/// <remarks>Thread-safe.</remarks>
public static class NativeTorch
{
    /// <summary>
    /// The environment variable that disables the private copy if set to <c>off</c>: the package's file is loaded as it is, or not at all.
    /// </summary>
    public const string RemedyVariable = NativeRemedy.DisableVariable;

    /// <summary>The <see cref="AppContext"/> switch that does the same if set to <see langword="true"/>.</summary>
    public const string RemedyDisabledSwitch = NativeRemedy.DisabledSwitch;

    // Native libraries are loaded once per process.
    private static readonly Lock Gate = new();
    private static volatile NativeTorchReport? s_report;

    /// <summary>What was loaded and how; <see langword="null"/> until <see cref="EnsureLoaded"/> has succeeded.</summary>
    public static NativeTorchReport? Report => s_report;

    /// <summary>
    /// Loads the native libraries once per process; later calls return at once. DispLlm calls it before it creates tensors. An application
    /// that uses TorchSharp before DispLlm has to call it first.
    /// </summary>
    /// <param name="logger">Receives what was loaded; null for none.</param>
    /// <exception cref="NativeTorchException">The libraries are missing or cannot be loaded; the message says what to do.</exception>
    public static void EnsureLoaded(ILogger? logger = null)
    {
        if (s_report is not null)
        {
            return;
        }

        NativeTorchReport report;
        lock (Gate)
        {
            if (s_report is not null)
            {
                return;
            }

            report = Load();
            s_report = report;
        }

        (logger ?? NullLogger.Instance).LogInformation(
            "Native TorchSharp: {Outcome}, {Library}. {Reason}", report.Outcome, report.Library, report.Reason);
    }

    private static NativeTorchReport Load()
    {
        try
        {
            var load = NativeTorchLoader.Load();
            return new NativeTorchReport((NativeTorchOutcome)load.Outcome, load.Library, load.PackageLibrary, load.Reason);
        }
        catch (NativeLoadException e)
        {
            throw new NativeTorchException(e.Message, e.InnerException);
        }
    }
}
