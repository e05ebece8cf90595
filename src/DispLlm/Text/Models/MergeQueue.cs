namespace DispLlm;

/// <summary>
/// A priority queue of merges: the lowest rank first, and of equal ranks the leftmost. Both are one number, so a long word takes less time
/// than with .NET's queue, which keeps element and priority apart. Not thread-safe.
/// </summary>
internal sealed class MergeQueue
{
    private const int Arity = 4;

    private ulong[] _heap;
    private int _count;

    public MergeQueue(int capacity) => _heap = new ulong[Math.Max(capacity, Arity)];

    public void Add(int rank, int position)
    {
        if (_count == _heap.Length)
        {
            Array.Resize(ref _heap, _count * 2);
        }

        ulong key = ((ulong)rank << 32) | (uint)position;
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
        (rank, position) = (0, 0);
        if (_count == 0)
        {
            return false;
        }

        (rank, position) = ((int)(_heap[0] >> 32), (int)_heap[0]);
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
