using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

public sealed class HostThreadTests
{
    [Theory]
    [InlineData(1, 1)]
    [InlineData(7, 1)]
    [InlineData(7, 1_000_000)]
    [InlineData(1000, 1000)]
    public void Every_item_is_done_once(long items, long elementsEach)
    {
        int[] done = new int[items];
        HostThreads.Share(items, elementsEach, (first, last) =>
        {
            for (long item = first; item < last; item++)
            {
                Interlocked.Increment(ref done[item]);
            }
        });
        Assert.All(done, count => Assert.Equal(1, count));
    }

    /// <summary>Each piece of work finds in its own numbers what it has put there, while others write to theirs.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(17)]
    [InlineData(400)]
    public unsafe void No_two_threads_have_the_same_numbers(int scratch)
    {
        NativeTorch.EnsureLoaded();
        long others = 0;
        HostThreads.Share(64, 1_000_000, scratch, (first, last, numbers) =>
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
    public void On_Linux_work_is_done_by_the_frameworks_own_threads()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Other systems' libraries have no such entry.");
        NativeTorch.EnsureLoaded();
        Assert.True(OpenMpTeam.Exists);
        Assert.SkipUnless(get_num_threads() > 1, "One thread shares nothing.");

        // Each waits for the other, so that both have to be there.
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
    public void What_is_thrown_on_another_thread_arrives_and_the_team_goes_on()
    {
        NativeTorch.EnsureLoaded();
        for (int i = 0; i < 20; i++)
        {
            string what = Assert.ThrowsAny<Exception>(() => HostThreads.Share(100, 1_000_000, (first, last) =>
                throw new InvalidOperationException(first.ToString(CultureInfo.InvariantCulture)))).ToString();
            Assert.Contains(nameof(InvalidOperationException), what, StringComparison.Ordinal);
        }

        using Tensor sums = ones(4_000_000).sum();
        Assert.Equal(4e6f, sums.ToSingle());
    }

    [Fact]
    public async Task Several_callers_share_work_at_a_time()
    {
        NativeTorch.EnsureLoaded();
        long[] sums = new long[8];
        await Task.WhenAll(Enumerable.Range(0, 8).Select(caller => Task.Run(() =>
        {
            for (int round = 0; round < 50; round++)
            {
                HostThreads.Share(1000, 1000, (first, last) => Interlocked.Add(ref sums[caller], last - first));
            }
        })));
        Assert.All(sums, sum => Assert.Equal(50_000, sum));
    }
}
