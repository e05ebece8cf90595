using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>
/// Brings TorchSharp's native libraries into the process, before TorchSharp's own static constructor looks for them: that one gives up
/// with a misleading message where the system's C++ library is older than the package asks for, and cannot be tried twice.
/// </summary>
public static class NativeTorch
{
    /// <summary>Set this environment variable to <c>off</c> to load the package's file as it is or not at all.</summary>
    public const string RemedyVariable = NativeRemedy.DisableVariable;

    /// <summary>Set this <see cref="AppContext"/> switch to <see langword="true"/> for the same.</summary>
    public const string RemedyDisabledSwitch = NativeRemedy.DisabledSwitch;

    // Native libraries belong to the process, so this state does too.
    private static readonly Lock Gate = new();
    private static volatile NativeTorchReport? s_report;

    /// <summary>What was loaded and how; <see langword="null"/> until <see cref="EnsureLoaded"/> has succeeded.</summary>
    public static NativeTorchReport? Report => s_report;

    /// <summary>
    /// Loads the native libraries once per process; later calls return at once. Every part of DispLlm that makes tensors calls it. An
    /// application that uses TorchSharp before DispLlm calls it first.
    /// </summary>
    /// <param name="logger">Told what was done, by the call that does it.</param>
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
