using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace DispLlm.Kernels;

/// <summary>
/// libtorch's own threads, where they are those of GNU's OpenMP library. They spin between two operators, so other threads would compete
/// with them for the cores. Kernels between two matrix multiplications run on these instead.
/// </summary>
internal static unsafe class OpenMpTeam
{
    // GOMP_parallel; its library is never unloaded.
    private static readonly delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void> s_parallel = Find();

    /// <summary>Whether libtorch uses GNU OpenMP.</summary>
    public static bool IsAvailable => s_parallel != null;

    /// <summary>Runs work once on every thread of the team.</summary>
    /// <param name="threads">The number of threads that libtorch uses: another number would create a new team.</param>
    /// <param name="work">The work of each thread.</param>
    public static void Run(int threads, Action work)
    {
        var shared = new SharedWork(work);
        var handle = GCHandle.Alloc(shared);
        s_parallel(&RunOnThread, GCHandle.ToIntPtr(handle), (uint)threads, 0);
        handle.Free();
        shared.Failure?.Throw();
    }

    [UnmanagedCallersOnly]
    private static void RunOnThread(nint shared) => ((SharedWork)GCHandle.FromIntPtr(shared).Target!).Run();

    private static delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void> Find()
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        // The one that libtorch loaded: a process may have several, each with its own threads.
        using var process = Process.GetCurrentProcess();
        string[] loaded = [.. process.Modules.Cast<ProcessModule>().Select(module => module.FileName)];
        string? torch = Path.GetDirectoryName(loaded.FirstOrDefault(file => Path.GetFileName(file) == "libtorch_cpu.so"));
        string[] teams = [.. loaded.Where(file => Path.GetFileName(file).StartsWith("libgomp", StringComparison.Ordinal))];
        string? own = teams.FirstOrDefault(file => Path.GetDirectoryName(file) == torch) ?? (teams is [var only] ? only : null);
        return own is not null && NativeLibrary.TryLoad(own, out nint library)
            && NativeLibrary.TryGetExport(library, "GOMP_parallel", out nint parallel)
            ? (delegate* unmanaged<delegate* unmanaged<nint, void>, nint, uint, uint, void>)parallel
            : null;
    }

    private sealed class SharedWork(Action work)
    {
        private ExceptionDispatchInfo? _failure;

        public ExceptionDispatchInfo? Failure => _failure;

        // An exception must not pass native frames.
        public void Run()
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
