using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// Splits a corpus into sequences of equal length and returns them in batches, without end. An epoch has the sequences of one random
/// offset, which do not overlap, each once in random order; the next epoch has another offset, so that no token is always the first of its
/// sequence. A batch follows from the seed and the step alone: a run that resumes at step 500 needs nothing but that number. Thread-safe.
/// </summary>
public sealed class SequenceSampler
{
    private readonly int[] _tokens;
    private readonly RandomSource _random;

    // The epoch last asked for: steps come in order, and a shuffle of a large corpus is worth caching. One reference, so that two threads
    // can at worst compute it twice.
    private volatile Epoch? _epoch;

    /// <summary>Prepares the sequences of a corpus.</summary>
    /// <param name="tokens">The corpus.</param>
    /// <param name="sequenceLength">Tokens of a sequence.</param>
    /// <param name="batchSize">Sequences in a batch.</param>
    /// <param name="random">The run's random numbers.</param>
    /// <exception cref="CorpusException">The corpus is shorter than one sequence.</exception>
    public SequenceSampler(int[] tokens, int sequenceLength, int batchSize, RandomSource random)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(random);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(sequenceLength);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batchSize);
        if (tokens.Length < sequenceLength)
        {
            throw new CorpusException(
                $"The corpus has {tokens.Length} tokens, less than one sequence of {sequenceLength}. Use a longer corpus or "
                    + "shorter sequences.");
        }

        _tokens = tokens;
        _random = random;
        SequenceLength = sequenceLength;
        BatchSize = batchSize;

        // As many sequences as fit at every offset, so that all epochs have the same number and a step finds its epoch by division.
        SequencesPerEpoch = Math.Max(1, (tokens.Length - sequenceLength + 1) / sequenceLength);
        Phases = Math.Min(sequenceLength, tokens.Length - (SequencesPerEpoch * sequenceLength) + 1);
    }

    /// <summary>Tokens of a sequence.</summary>
    public int SequenceLength { get; }

    /// <summary>Sequences in a batch.</summary>
    public int BatchSize { get; }

    /// <summary>Sequences in an epoch. Fewer tokens than two sequences are left out of an epoch, other ones in each.</summary>
    public int SequencesPerEpoch { get; }

    /// <summary>The number of offsets that an epoch can start at.</summary>
    private int Phases { get; }

    /// <summary>The batch of a step, int64 <c>[batch, seq]</c> on the CPU. The caller disposes it.</summary>
    /// <param name="step">
    /// The step, from 0. A batch may have the end of one epoch and the beginning of the next.
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

    /// <summary>The first token of a sequence, by its number since the first epoch.</summary>
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
        // Two streams, so that the offset does not depend on how many numbers a shuffle takes.
        using var phases = _random.Stream("windows.phase", number);
        using var orders = _random.Stream("windows.order", number);
        using var drawn = phases.Uniform(1);
        int phase = Math.Min(Phases - 1, (int)(drawn.item<float>() * Phases));
        return new Epoch(number, phase, orders.Permutation(SequencesPerEpoch));
    }

    private sealed record Epoch(long Number, int Phase, long[] Order);
}
