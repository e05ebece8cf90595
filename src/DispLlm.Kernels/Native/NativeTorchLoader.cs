using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using TorchSharp;

namespace DispLlm.Kernels;

/// <summary>How the native libraries were loaded.</summary>
internal enum NativeLoadOutcome
{
    /// <summary>The package's file loads on this system as it is.</summary>
    Loaded,

    /// <summary>A private copy of the package's file was loaded (<see cref="NativeRemedy"/>).</summary>
    LoadedWithRemedy,

    /// <summary>The library was in the process already.</summary>
    AlreadyLoaded,

    /// <summary>TorchSharp loads the package's files itself.</summary>
    LeftToTorchSharp,
}

/// <summary>What was loaded.</summary>
/// <param name="Outcome">How.</param>
/// <param name="Library">The file that was loaded, where it is known.</param>
/// <param name="PackageLibrary">The package's file.</param>
/// <param name="Reason">Why so, in a sentence.</param>
internal sealed record NativeLoad(NativeLoadOutcome Outcome, string? Library, string? PackageLibrary, string Reason);

/// <summary>The native libraries are missing or cannot be loaded; the message says what to do.</summary>
internal sealed class NativeLoadException(string message, Exception? innerException = null) : Exception(message, innerException);

/// <summary>
/// Loads TorchSharp's native libraries before its static constructor does. Upstream fault (TorchSharp 0.107): where the system's libstdc++
/// is older than the package requires, that constructor fails with a misleading message, and cannot run again. When TorchSharp's native
/// library requires at most GLIBCXX_3.4.30, delete the folder Native and what <c>NativeTorch</c> does with it.
/// </summary>
internal static partial class NativeTorchLoader
{
    private const string LinuxLibrary = "libLibTorchSharp.so";

    /// <summary>Loads the libraries. Called once per process.</summary>
    /// <exception cref="NativeLoadException">They are missing or cannot be loaded.</exception>
    public static NativeLoad Load() => OperatingSystem.IsLinux() ? LoadOnLinux() : Check();

    private static NativeLoad LoadOnLinux()
    {
        // By bare name the system's loader answers with a library that is loaded already, or with one on its own search path.
        if (NativeLibrary.TryLoad(LinuxLibrary, out _))
        {
            return new NativeLoad(
                NativeLoadOutcome.AlreadyLoaded, null, null, "The library was in the process or on the system's search path.");
        }

        var files = NativeFiles.ForProcess(typeof(torch).Assembly.Location);
        string library = files.Find(LinuxLibrary) ?? throw Missing(LinuxLibrary, files);

        // libtorch first: a private copy of the library is in another folder, and finds them because they are loaded already.
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
            return new NativeLoad(NativeLoadOutcome.Loaded, library, library, "The package's file loads on this system as it is.");
        }
        catch (DllNotFoundException e) when (e.Message.Contains(NativeRemedy.Version, StringComparison.Ordinal))
        {
            return Remedy(library, e);
        }
        catch (DllNotFoundException e)
        {
            throw new NativeLoadException($"'{library}' cannot be loaded: {e.Message}", e);
        }
    }

    private static NativeLoad Remedy(string library, DllNotFoundException cause)
    {
        string situation =
            $"'{library}' requires {NativeRemedy.Version} (the C++ library of GCC 13), which this system's libstdc++.so.6 lacks";
        if (NativeRemedy.IsDisabled)
        {
            throw new NativeLoadException(
                $"{situation}, and DispLlm's remedy (a private copy of the library that does without) is switched off. Unset the "
                + $"environment variable {NativeRemedy.DisableVariable} and the AppContext switch {NativeRemedy.DisabledSwitch}, "
                + "or provide a libstdc++.so.6 of GCC 13 or later.",
                cause);
        }

        try
        {
            string copy = NativeRemedy.Load(library);
            return new NativeLoad(
                NativeLoadOutcome.LoadedWithRemedy, copy, library, $"{situation}; a private copy that does without was loaded.");
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException or DllNotFoundException)
        {
            throw new NativeLoadException(
                $"{situation}, and a private copy that does without did not help: {e.Message} Provide a libstdc++.so.6 of GCC "
                    + "13 or later.", e);
        }
    }

    /// <summary>
    /// Loads a library whose dependencies may be in other package folders, as those of the CUDA packages are: a dependency that the
    /// system's loader misses is loaded first from a known folder.
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
                    throw new NativeLoadException($"'{library}' cannot be loaded: {e.Message}", e);
                }

                LoadWithDependencies(found, files);
            }
        }
    }

    private static NativeLoad Check()
    {
        string name = OperatingSystem.IsWindows() ? "LibTorchSharp.dll" : "libLibTorchSharp.dylib";
        string torch = OperatingSystem.IsWindows() ? "torch_cpu.dll" : "libtorch_cpu.dylib";
        var files = NativeFiles.ForProcess(typeof(torch).Assembly.Location);
        string? library = files.Find(name);
        if ((library is null || files.Find(torch) is null) && !NativeLibrary.TryLoad("LibTorchSharp", typeof(torch).Assembly, null, out _))
        {
            throw Missing(library is null ? name : torch, files);
        }

        return new NativeLoad(NativeLoadOutcome.LeftToTorchSharp, null, library, "This system loads the package's files without help.");
    }

    private static NativeLoadException Missing(string name, NativeFiles files) => new(
        $"The native library '{name}' was not found. DispLlm leaves the choice of processor to the application: add one of the packages " +
        "TorchSharp-cpu, TorchSharp-cuda-linux or TorchSharp-cuda-windows to the application's project (the one that runs, not a class " +
        $"library). Searched: {string.Join(", ", files.Folders)}.");

    // The loader's message is localized, but the line always begins with the name of the missing library.
    [GeneratedRegex(@"^([^\s:/]+\.so[^\s:/]*): ", RegexOptions.Multiline)]
    private static partial Regex MissingDependency();
}
