using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

public sealed class HostThreadsTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 1)]
    [InlineData(7, 1_000_000)]
    [InlineData(1000, 1000)]
    public void Each_item_runs_once(long items, long elementsEach)
    {
        int[] done = new int[items];
        HostThreads.For(items, elementsEach, (first, last) =>
        {
            for (long item = first; item < last; item++)
            {
                Interlocked.Increment(ref done[item]);
            }
        });
        Assert.All(done, count => Assert.Equal(1, count));
    }

    /// <summary>Each thread finds what it wrote to its scratch memory, while others write to theirs.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(17)]
    [InlineData(400)]
    public unsafe void Threads_do_not_share_scratch_memory(int scratch)
    {
        NativeTorch.EnsureLoaded();
        long others = 0;
        HostThreads.For(64, 1_000_000, scratch, (first, last, numbers) =>
        {
            Assert.Equal(0, (nint)numbers % AlignedBuffer.Line);
            for (int round = 0; round < 200; round++)
            {
                new Span<float>(numbers, scratch).Fill(first);
                foreach (float number in new Span<float>(numbers, scratch))
                {
                    Interlocked.Add(ref others, number == first ? 0 : 1);
                }
            }
        });
        Assert.Equal(0, others);
    }

    [Fact]
    public void On_Linux_work_runs_on_libtorchs_threads()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libtorch uses GNU OpenMP on Linux only.");
        NativeTorch.EnsureLoaded();
        Assert.True(OpenMpTeam.IsAvailable);
        Assert.SkipUnless(get_num_threads() > 1, "There is only one thread.");

        // Each waits for the others, so that all have to arrive.
        var threads = new HashSet<int>();
        using var together = new Barrier(get_num_threads());
        OpenMpTeam.Run(get_num_threads(), () =>
        {
            together.SignalAndWait(TimeSpan.FromSeconds(60));
            lock (threads)
            {
                threads.Add(Environment.CurrentManagedThreadId);
            }
        });
        Assert.Equal(get_num_threads(), threads.Count);
        Assert.Contains(Environment.CurrentManagedThreadId, threads);
    }

    [Fact]
    public void An_exception_of_another_thread_is_rethrown_and_the_team_continues()
    {
        NativeTorch.EnsureLoaded();
        for (int i = 0; i < 20; i++)
        {
            string what = Assert.ThrowsAny<Exception>(() => HostThreads.For(100, 1_000_000, (first, last) =>
                throw new InvalidOperationException(first.ToString(CultureInfo.InvariantCulture)))).ToString();
            Assert.Contains(nameof(InvalidOperationException), what, StringComparison.Ordinal);
        }

        using Tensor sums = ones(4_000_000).sum();
        Assert.Equal(4e6f, sums.ToSingle());
    }

    [Fact]
    public async Task Several_callers_run_at_a_time()
    {
        NativeTorch.EnsureLoaded();
        long[] sums = new long[8];
        await Task.WhenAll(Enumerable.Range(0, 8).Select(caller => Task.Run(() =>
        {
            for (int round = 0; round < 50; round++)
            {
                HostThreads.For(1000, 1000, (first, last) => Interlocked.Add(ref sums[caller], last - first));
            }
        })));
        Assert.All(sums, sum => Assert.Equal(50_000, sum));
    }
}
