using System.Buffers;

namespace DispLlm;

/// <summary>
/// Writes pieces of tensors in the order in which they were added, while the next ones are read and pruned on other threads, so that
/// reading, computing and writing overlap. Not thread-safe.
/// </summary>
internal sealed class PieceStream : IDisposable
{
    // Enough for reading, pruning and writing to overlap. At most this many pieces are in memory.
    private const int Ahead = 4;

    private readonly SafetensorsWriter _target;
    private readonly Queue<(string Name, Task<int> Taken, byte[] Buffer)> _pieces = new(Ahead);

    public PieceStream(SafetensorsWriter target) => _target = target;

    /// <summary>Adds a piece.</summary>
    /// <param name="name">The tensor that it belongs to.</param>
    /// <param name="bytes">The size of its buffer.</param>
    /// <param name="take">Fills the buffer from its start, and returns how many bytes to write. Called on another thread.</param>
    public void Add(string name, int bytes, Func<byte[], int> take)
    {
        if (_pieces.Count == Ahead)
        {
            WriteNext();
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(bytes);
        _pieces.Enqueue((name, Task.Run(() => take(buffer)), buffer));
    }

    /// <summary>Writes all pieces added so far.</summary>
    public void Flush()
    {
        while (_pieces.Count > 0)
        {
            WriteNext();
        }
    }

    /// <summary>Waits for the pieces in flight, since they read from files that may be closed next, and discards them.</summary>
    public void Dispose() => Task.WaitAny([Task.WhenAll(_pieces.Select(piece => piece.Taken))]);

    private void WriteNext()
    {
        var (name, taken, buffer) = _pieces.Peek();
        _target.Write(name, buffer.AsSpan(0, taken.GetAwaiter().GetResult()));
        _pieces.Dequeue();
        ArrayPool<byte>.Shared.Return(buffer);
    }
}
