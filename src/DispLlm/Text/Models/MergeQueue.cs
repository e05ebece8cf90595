namespace DispLlm;

/// <summary>
/// A priority queue of merges: the lowest rank first, and of equal ranks the leftmost. Both are one number, so a long word takes less time
/// than with .NET's queue, which keeps element and priority apart. What a word begins with is sorted once; only what its merges add is a
/// heap. Not thread-safe.
/// </summary>
internal sealed class MergeQueue
{
    private const int Arity = 4;

    private readonly ulong[] _first;
    private int _firstCount;
    private int _taken = -1;
    private ulong[] _heap = new ulong[Arity];
    private int _count;

    /// <param name="capacity">Most merges before <see cref="Begin"/>.</param>
    public MergeQueue(int capacity) => _first = new ulong[capacity];

    /// <summary>Sorts what has been added, before the first is taken.</summary>
    public void Begin()
    {
        _first.AsSpan(0, _firstCount).Sort();
        _taken = 0;
    }

    public void Add(int rank, int position)
    {
        ulong key = ((ulong)rank << 32) | (uint)position;
        if (_taken < 0)
        {
            _first[_firstCount++] = key;
            return;
        }

        if (_count == _heap.Length)
        {
            Array.Resize(ref _heap, _count * 2);
        }

        int at = _count++;
        while (at > 0)
        {
            int parent = (at - 1) / Arity;
            if (_heap[parent] <= key)
            {
                break;
            }

            _heap[at] = _heap[parent];
            at = parent;
        }

        _heap[at] = key;
    }

    public bool TryTake(out int rank, out int position)
    {
        bool hasFirst = _taken < _firstCount;
        if (hasFirst && (_count == 0 || _first[_taken] <= _heap[0]))
        {
            (rank, position) = Split(_first[_taken++]);
            return true;
        }

        (rank, position) = Split(_heap[0]);
        if (_count == 0)
        {
            return false;
        }

        ulong last = _heap[--_count];
        int at = 0;
        while (LowestChild(at) is var child && child < _count && _heap[child] < last)
        {
            _heap[at] = _heap[child];
            at = child;
        }

        _heap[at] = last;
        return true;
    }

    private static (int Rank, int Position) Split(ulong key) => ((int)(key >> 32), (int)key);

    private int LowestChild(int parent)
    {
        int lowest = (parent * Arity) + 1;
        int end = Math.Min(lowest + Arity, _count);
        for (int child = lowest + 1; child < end; child++)
        {
            if (_heap[child] < _heap[lowest])
            {
                lowest = child;
            }
        }

        return lowest;
    }
}
