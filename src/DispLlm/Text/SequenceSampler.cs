using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// Cuts a corpus into windows of equal length and deals them out in batches, for ever. An epoch cuts the corpus into windows that do not
/// overlap, at a random phase, and deals every one of them once in random order; the next epoch cuts elsewhere, so that no token is
/// always the first of its window. Which windows a step gets follows from the seed and the step alone: a run that goes on at step 500
/// keeps nothing but the number 500.
/// </summary>
public sealed class SequenceSampler
{
    private readonly int[] _tokens;
    private readonly RandomSource _random;

    // The order of the epoch last asked for: steps come in order, and a shuffle of a large corpus is worth keeping. One reference, so
    // that two threads can at worst compute it twice.
    private volatile Epoch? _epoch;

    /// <summary>Prepares the windows of a corpus.</summary>
    /// <param name="tokens">The corpus.</param>
    /// <param name="windowLength">Tokens in a window.</param>
    /// <param name="batchSize">Windows in a batch.</param>
    /// <param name="random">The run's random numbers.</param>
    /// <exception cref="CorpusException">The corpus is shorter than one window.</exception>
    public SequenceSampler(int[] tokens, int windowLength, int batchSize, RandomSource random)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(random);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(windowLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        if (tokens.Length < windowLength)
        {
            throw new CorpusException(
                $"The corpus has {tokens.Length} tokens, less than one window of {windowLength}. Use a longer corpus or a shorter window.");
        }

        _tokens = tokens;
        _random = random;
        SequenceLength = windowLength;
        BatchSize = batchSize;

        // As many windows as fit at every phase, so that all epochs have the same number and a step finds its epoch by division.
        SequencesPerEpoch = Math.Max(1, (tokens.Length - windowLength + 1) / windowLength);
        Phases = Math.Min(windowLength, tokens.Length - (SequencesPerEpoch * windowLength) + 1);
    }

    /// <summary>Tokens in a window.</summary>
    public int SequenceLength { get; }

    /// <summary>Windows in a batch.</summary>
    public int BatchSize { get; }

    /// <summary>Windows in an epoch. Fewer than two window lengths of tokens are left out of an epoch, other ones in each.</summary>
    public int SequencesPerEpoch { get; }

    /// <summary>From how many first tokens an epoch can start cutting.</summary>
    private int Phases { get; }

    /// <summary>The batch of a step, int64 <c>[batch, window]</c> on the CPU. The caller disposes it.</summary>
    /// <param name="step">
    /// The step, from 0. Epochs follow each other without a gap: a batch may hold the end of one and the next one's beginning.
    /// </param>
    public torch.Tensor Batch(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        NativeTorch.EnsureLoaded();
        long[] batch = new long[(long)BatchSize * SequenceLength];
        long first = checked(step * BatchSize);
        for (int row = 0; row < BatchSize; row++)
        {
            int start = FirstTokenAt(first + row);
            for (int i = 0; i < SequenceLength; i++)
            {
                batch[(row * (long)SequenceLength) + i] = _tokens[start + i];
            }
        }

        return torch.tensor(batch, [BatchSize, SequenceLength], torch.ScalarType.Int64, torch.CPU);
    }

    /// <summary>Where in the corpus the given window of the endless sequence begins.</summary>
    internal int FirstTokenAt(long window)
    {
        var (number, place) = Math.DivRem(window, SequencesPerEpoch);
        var epoch = _epoch;
        if (epoch is null || epoch.Number != number)
        {
            _epoch = epoch = Open(number);
        }

        return epoch.Phase + ((int)epoch.Order[place] * SequenceLength);
    }

    private Epoch Open(long number)
    {
        // Two streams, so that the phase cannot depend on how many numbers a shuffle takes.
        using var phases = _random.Stream("windows.phase", number);
        using var orders = _random.Stream("windows.order", number);
        using var drawn = phases.Uniform(1);
        int phase = Math.Min(Phases - 1, (int)(drawn.item<float>() * Phases));
        return new Epoch(number, phase, orders.Permutation(SequencesPerEpoch));
    }

    private sealed record Epoch(long Number, int Phase, long[] Order);
}
