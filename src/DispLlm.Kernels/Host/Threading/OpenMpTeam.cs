using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace DispLlm.Kernels;

/// <summary>
/// The threads that the framework's own operators run on, where they are those of GNU's OpenMP library. Between two operators they wait by spinning, and threads of another kind
/// would have to share the processor's cores with them: vector code that stands between products runs on these instead.
/// </summary>
internal static unsafe class OpenMpTeam
{
    // A function of a library that stays in the process, as long as the process lasts.
    private static readonly delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void> s_parallel = Find();

    /// <summary>Whether there is such a team.</summary>
    public static bool Exists => s_parallel != null;

    /// <summary>Does work on every thread of the team, once on each.</summary>
    /// <param name="threads">How many threads the framework uses: a team of another size would be made anew.</param>
    /// <param name="work">What each does.</param>
    public static void Run(int threads, Action work)
    {
        var shared = new SharedWork(work);
        var handle = GCHandle.Alloc(shared);
        s_parallel(&Enter, GCHandle.ToIntPtr(handle), (uint)threads, 0);
        handle.Free();
        shared.Failure?.Throw();
    }

    [UnmanagedCallersOnly]
    private static void Enter(nint shared) => ((SharedWork)GCHandle.FromIntPtr(shared).Target!).Do();

    private static delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void> Find()
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        // The one that the framework loaded: a process may hold several, each with threads of its own.
        using var process = Process.GetCurrentProcess();
        string[] loaded = [.. process.Modules.Cast<ProcessModule>().Select(module => module.FileName)];
        string? torch = Path.GetDirectoryName(loaded.FirstOrDefault(file => Path.GetFileName(file) == "libtorch_cpu.so"));
        string[] teams = [.. loaded.Where(file => Path.GetFileName(file).StartsWith("libgomp", StringComparison.Ordinal))];
        string? own = teams.FirstOrDefault(file => Path.GetDirectoryName(file) == torch) ?? (teams is [var only] ? only : null);
        return own is not null && NativeLibrary.TryLoad(own, out nint library) && NativeLibrary.TryGetExport(library, "GOMP_parallel", out nint parallel)
            ? (delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void>)parallel
            : null;
    }

    private sealed class SharedWork(Action work)
    {
        private ExceptionDispatchInfo? _failure;

        public ExceptionDispatchInfo? Failure => _failure;

        // Nothing may be thrown through the library's frames.
        public void Do()
        {
            try
            {
                work();
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
            }
        }
    }
}
