using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TorchSharp;

namespace DispLlm;

/// <summary>
/// Brings TorchSharp's native libraries into the process, before TorchSharp's own static constructor looks for them: that one gives up
/// with a misleading message where the system's C++ library is older than the package asks for, and cannot be tried twice.
/// </summary>
public static partial class NativeTorch
{
    /// <summary>Set this environment variable to <c>off</c> to load the package's file as it is or not at all.</summary>
    public const string RemedyVariable = "DISPLLM_NATIVE_REMEDY";

    /// <summary>Set this <see cref="AppContext"/> switch to <see langword="true"/> for the same.</summary>
    public const string RemedyDisabledSwitch = "DispLlm.NativeRemedy.Disabled";

    private const string LinuxLibrary = "libLibTorchSharp.so";

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

            report = OperatingSystem.IsLinux() ? LoadOnLinux() : Check();
            s_report = report;
        }

        (logger ?? NullLogger.Instance).LogInformation(
            "Native TorchSharp: {Outcome}, {Library}. {Reason}", report.Outcome, report.Library, report.Reason);
    }

    private static NativeTorchReport LoadOnLinux()
    {
        // By bare name the system's loader answers with a library that is loaded already, or with one on its own search path.
        if (NativeLibrary.TryLoad(LinuxLibrary, out _))
        {
            return new(NativeTorchOutcome.AlreadyLoaded, null, null, "The library was in the process or on the system's search path.");
        }

        var files = NativeFiles.OfProcess(typeof(torch).Assembly.Location);
        string library = files.Find(LinuxLibrary) ?? throw Missing(LinuxLibrary, files);

        // libtorch first: a private copy of the library lies in another folder, and finds them because they are there already.
        foreach (string name in new[] { "libtorch_cpu.so", "libtorch.so" })
        {
            if (files.Find(name) is { } dependency)
            {
                LoadWithDependencies(dependency, files);
            }
            else if (!NativeLibrary.TryLoad(name, out _))
            {
                throw Missing(name, files);
            }
        }

        try
        {
            NativeLibrary.Load(library);
            return new(NativeTorchOutcome.Loaded, library, library, "The package's file loads on this system as it is.");
        }
        catch (DllNotFoundException e) when (e.Message.Contains(NativeRemedy.Version, StringComparison.Ordinal))
        {
            return Remedy(library, e);
        }
        catch (DllNotFoundException e)
        {
            throw new NativeTorchException($"'{library}' cannot be loaded: {e.Message}", e);
        }
    }

    private static NativeTorchReport Remedy(string library, DllNotFoundException cause)
    {
        string situation = $"'{library}' wants {NativeRemedy.Version} (the C++ library of GCC 13), which this system's libstdc++.so.6 lacks";
        if (NativeRemedy.IsDisabled)
        {
            throw new NativeTorchException(
                $"{situation}, and DispLlm's remedy (a private copy of the library that does without) is switched off. Unset the environment " +
                $"variable {RemedyVariable} and the AppContext switch {RemedyDisabledSwitch}, or provide a libstdc++.so.6 of GCC 13 or later.",
                cause);
        }

        try
        {
            string copy = NativeRemedy.Load(library);
            return new(NativeTorchOutcome.LoadedWithRemedy, copy, library, $"{situation}; a private copy that does without was loaded.");
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException or DllNotFoundException)
        {
            throw new NativeTorchException(
                $"{situation}, and a private copy that does without did not help: {e.Message} Provide a libstdc++.so.6 of GCC 13 or later.", e);
        }
    }

    /// <summary>
    /// Loads a library whose dependencies may lie in other package folders, as the parts of the CUDA packages do: whatever the system's
    /// loader misses and one of the known folders has, is loaded first.
    /// </summary>
    private static void LoadWithDependencies(string library, NativeFiles files)
    {
        var tried = new HashSet<string>();
        while (true)
        {
            try
            {
                NativeLibrary.Load(library);
                return;
            }
            catch (DllNotFoundException e)
            {
                string missing = MissingDependency().Match(e.Message).Groups[1].Value;
                if (missing.Length == 0 || !tried.Add(missing) || files.Find(missing) is not { } found)
                {
                    throw new NativeTorchException($"'{library}' cannot be loaded: {e.Message}", e);
                }

                LoadWithDependencies(found, files);
            }
        }
    }

    private static NativeTorchReport Check()
    {
        string name = OperatingSystem.IsWindows() ? "LibTorchSharp.dll" : "libLibTorchSharp.dylib";
        string torch = OperatingSystem.IsWindows() ? "torch_cpu.dll" : "libtorch_cpu.dylib";
        var files = NativeFiles.OfProcess(typeof(torch).Assembly.Location);
        string? library = files.Find(name);
        if ((library is null || files.Find(torch) is null) && !NativeLibrary.TryLoad("LibTorchSharp", typeof(torch).Assembly, null, out _))
        {
            throw Missing(library is null ? name : torch, files);
        }

        return new(NativeTorchOutcome.LeftToTorchSharp, null, library, "This system loads the package's files without help.");
    }

    private static NativeTorchException Missing(string name, NativeFiles files) => new(
        $"The native library '{name}' was not found. DispLlm leaves the choice of processor to the application: add one of the packages " +
        "TorchSharp-cpu, TorchSharp-cuda-linux or TorchSharp-cuda-windows to the application's project (the one that runs, not a class " +
        $"library). Searched: {string.Join(", ", files.Folders)}.");

    // The loader's own words follow the user's language; that the missing library's bare name opens the line does not.
    [GeneratedRegex(@"^([^\s:/]+\.so[^\s:/]*): ", RegexOptions.Multiline)]
    private static partial Regex MissingDependency();
}
