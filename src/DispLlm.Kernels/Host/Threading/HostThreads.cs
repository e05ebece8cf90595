using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Shares work on the CPU's memory among as many threads as the framework may use.</summary>
internal static unsafe class HostThreads
{
    /// <summary>Elements that are worth a thread of their own.</summary>
    private const long Grain = 16_384;

    /// <summary>Work on some items, with memory of its own.</summary>
    /// <param name="first">The first item.</param>
    /// <param name="last">Behind the last one.</param>
    /// <param name="scratch">As many numbers as were asked for.</param>
    public delegate void Work(long first, long last, float* scratch);

    /// <summary>Shares items where there is enough to share.</summary>
    public static void Share(long items, long elementsEach, Action<long, long> work)
    {
        if (Threads(items, elementsEach) <= 1)
        {
            work(0, items);
        }
        else
        {
            OnThreads(items, elementsEach, (_, first, last) => work(first, last));
        }
    }

    /// <summary>Shares items; every thread has some numbers to itself.</summary>
    public static void Share(long items, long elementsEach, long scratch, Work work)
    {
        if (Threads(items, elementsEach) <= 1)
        {
            using var own = new AlignedBuffer(scratch);
            work(0, items, own.First);
            return;
        }

        // Whole cache lines, so that no two threads write to one.
        scratch = AlignedBuffer.RoundUpToCacheLine(scratch);
        using var room = new AlignedBuffer(get_num_threads() * scratch);
        float* rooms = room.First;
        OnThreads(items, elementsEach, (thread, first, last) => work(first, last, rooms + (thread * scratch)));
    }

    private static void OnThreads(long items, long elementsEach, Action<long, long, long> work)
    {
        long pieces = Pieces(items, elementsEach, out long size), next = 0;
        int threads = get_num_threads(), entered = 0;
        void DoWhatIsLeft()
        {
            int thread = Interlocked.Increment(ref entered) - 1;
            for (long piece = Interlocked.Increment(ref next) - 1; piece < pieces; piece = Interlocked.Increment(ref next) - 1)
            {
                work(thread, Math.Min(items, piece * size), Math.Min(items, (piece + 1) * size));
            }
        }

        if (OpenMpTeam.Exists)
        {
            OpenMpTeam.Run(threads, DoWhatIsLeft);
        }
        else
        {
            Parallel.For(0, threads, _ => DoWhatIsLeft());
        }
    }

    /// <summary>
    /// In how many pieces items are shared: the same for the same items and threads, so that sums that are taken piece by piece are the same to the bit.
    /// </summary>
    public static long Pieces(long items, long elementsEach, out long size)
    {
        // More pieces than threads: one that is held up leaves the rest to the others.
        long threads = Threads(items, elementsEach), pieces = threads <= 1 ? 1 : Math.Min(items, threads * 4);
        size = (items + pieces - 1) / pieces;
        return pieces;
    }

    private static long Threads(long items, long elementsEach) => Math.Min(get_num_threads(), items * elementsEach / Grain);
}
