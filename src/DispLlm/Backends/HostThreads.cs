using static TorchSharp.torch;

namespace DispLlm;

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
        long threads = Threads(items, elementsEach);
        if (threads <= 1)
        {
            work(0, items);
            return;
        }

        long pieces = Pieces(items, elementsEach, out long size);
        void Piece(long piece) => work(Math.Min(items, piece * size), Math.Min(items, (piece + 1) * size));

        if (OpenMpTeam.Exists)
        {
            OpenMpTeam.Run(get_num_threads(), pieces, Piece);
        }
        else
        {
            Parallel.For(0L, pieces, new ParallelOptions { MaxDegreeOfParallelism = (int)threads }, Piece);
        }
    }

    /// <summary>Shares items; every piece of work has some numbers to itself.</summary>
    public static void Share(long items, long elementsEach, long scratch, Work work) => Share(items, elementsEach, (first, last) =>
    {
        using var room = new HostRoom(scratch);
        work(first, last, room.First);
    });

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
