using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Runs loops in parallel, on as many threads as libtorch uses. Thread-safe; several callers may run at a time.</summary>
internal static unsafe class HostThreads
{
    /// <summary>Elements below which another thread does not pay.</summary>
    private const long Grain = 16_384;

    /// <summary>The body of a loop over a range of items, with scratch memory of its own.</summary>
    /// <param name="first">The first item.</param>
    /// <param name="last">The end of the range, exclusive.</param>
    /// <param name="scratch">As many float32 numbers as were requested.</param>
    public delegate void Work(long first, long last, float* scratch);

    /// <summary>Runs a loop over items.</summary>
    public static void For(long items, long elementsEach, Action<long, long> work)
    {
        if (Threads(items, elementsEach) <= 1)
        {
            work(0, items);
        }
        else
        {
            RunChunks(items, elementsEach, (_, first, last) => work(first, last));
        }
    }

    /// <summary>The same; each thread has scratch memory.</summary>
    public static void For(long items, long elementsEach, long scratch, Work work)
    {
        if (Threads(items, elementsEach) <= 1)
        {
            using var own = new AlignedBuffer(scratch);
            work(0, items, own.First);
            return;
        }

        // Whole cache lines, so that no two threads write to one.
        scratch = AlignedBuffer.RoundUpToCacheLine(scratch);
        using var buffer = new AlignedBuffer(get_num_threads() * scratch);
        float* first = buffer.First;
        RunChunks(items, elementsEach, (thread, from, to) => work(from, to, first + (thread * scratch)));
    }

    private static void RunChunks(long items, long elementsEach, Action<long, long, long> work)
    {
        long chunks = CountChunks(items, elementsEach, out long size), next = 0;
        int threads = get_num_threads(), entered = 0;
        void RunRemaining()
        {
            int thread = Interlocked.Increment(ref entered) - 1;
            for (long chunk = Interlocked.Increment(ref next) - 1; chunk < chunks; chunk = Interlocked.Increment(ref next) - 1)
            {
                work(thread, Math.Min(items, chunk * size), Math.Min(items, (chunk + 1) * size));
            }
        }

        if (OpenMpTeam.IsAvailable)
        {
            OpenMpTeam.Run(threads, RunRemaining);
        }
        else
        {
            Parallel.For(0, threads, _ => RunRemaining());
        }
    }

    /// <summary>
    /// The number of chunks that items are split into. It depends on the number of items and threads only, so that sums by chunk are the
    /// same to the bit.
    /// </summary>
    public static long CountChunks(long items, long elementsEach, out long size)
    {
        // More chunks than threads: the others go ahead where one is preempted.
        long threads = Threads(items, elementsEach), chunks = threads <= 1 ? 1 : Math.Min(items, threads * 4);
        size = (items + chunks - 1) / chunks;
        return chunks;
    }

    private static long Threads(long items, long elementsEach) => Math.Min(get_num_threads(), items * elementsEach / Grain);
}
