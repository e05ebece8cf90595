using CsCheck;
using TorchSharp;
using Xunit;

namespace DispLlm.Tests.Text;

/// <summary>Every window once in an epoch, and the same ones at the same step whatever came before.</summary>
public sealed class SequenceSamplerTests
{
    private static SequenceSampler Windows(int tokens, int window, int batch, long seed = 1) =>
        new([.. Enumerable.Range(0, tokens)], window, batch, new RandomSource(seed));

    /// <summary>The first token of every row; the corpus counts up, so it is the place the row was cut from.</summary>
    private static long[] Starts(SequenceSampler windows, long step)
    {
        using var batch = windows.Batch(step);
        Assert.Equal([windows.BatchSize, windows.SequenceLength], batch.shape);
        Assert.Equal(torch.ScalarType.Int64, batch.dtype);
        long[] tokens = batch.data<long>().ToArray();
        var rows = tokens.Chunk(windows.SequenceLength).ToArray();
        Assert.All(rows, row => Assert.Equal(Enumerable.Range(0, row.Length).Select(i => row[0] + i), row));
        return [.. rows.Select(row => row[0])];
    }

    [Fact]
    public void An_epoch_deals_every_window_once()
    {
        Gen.Select(Gen.Int[1, 12], Gen.Int[0, 100], Gen.Long[0, 50]).Sample((window, more, epoch) =>
        {
            var windows = Windows(window + more, window, 1, seed: 3);
            long[] starts = [.. Enumerable.Range(0, windows.SequencesPerEpoch)
                .Select(i => (long)windows.FirstTokenAt((epoch * windows.SequencesPerEpoch) + i)).Order()];
            Assert.InRange(starts[0], 0, window + more - (windows.SequencesPerEpoch * window));

            // Side by side, without a gap and without overlap; and less than two windows are left out.
            Assert.Equal(Enumerable.Range(0, starts.Length).Select(i => starts[0] + ((long)i * window)), starts);
            Assert.True(window + more - (starts.Length * window) <= (2 * window) - 2 || window == 1 || starts.Length == 1);
        });
    }

    [Fact]
    public void A_step_can_be_asked_for_out_of_order()
    {
        var inOrder = Windows(100, 7, 3);
        var steps = Enumerable.Range(0, 40).Select(i => Starts(inOrder, i)).ToArray();
        foreach (int step in (int[])[39, 0, 17, 17, 5])
        {
            Assert.Equal(steps[step], Starts(Windows(100, 7, 3), step));
            Assert.Equal(steps[step], Starts(inOrder, step));
        }
    }

    [Fact]
    public void Batches_deal_the_same_sequence_whatever_their_size_and_span_epochs()
    {
        var one = Windows(50, 6, 1);
        var four = Windows(50, 6, 4);
        Assert.NotEqual(0, four.SequencesPerEpoch % four.BatchSize);
        Assert.Equal(Enumerable.Range(0, 40).SelectMany(i => Starts(one, i)), Enumerable.Range(0, 10).SelectMany(i => Starts(four, i)));
    }

    [Fact]
    public void Seeds_differ_and_epochs_differ()
    {
        long[] first = [.. Enumerable.Range(0, 20).SelectMany(i => Starts(Windows(1000, 10, 5, seed: 1), i))];
        long[] second = [.. Enumerable.Range(0, 20).SelectMany(i => Starts(Windows(1000, 10, 5, seed: 2), i))];
        Assert.NotEqual(first, second);

        var windows = Windows(1000, 10, 1);
        var phases = Enumerable.Range(0, 30).Select(epoch => windows.FirstTokenAt((long)epoch * windows.SequencesPerEpoch) % 10).Distinct();
        Assert.True(phases.Count() > 5, "Thirty epochs should begin at more than five of ten phases.");
    }

    [Fact]
    public void A_corpus_of_one_sequence_is_enough_and_a_shorter_one_is_not()
    {
        Assert.Equal([0, 0], Starts(Windows(8, 8, 2), 1000));
        string message = Assert.Throws<CorpusException>(() => Windows(7, 8, 1)).Message;
        Assert.Contains("7 tokens", message, StringComparison.Ordinal);
        Assert.Contains("sequence of 8", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => Windows(8, 0, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Windows(8, 1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Windows(8, 8, 1).Batch(-1));
    }
}
