using System.Buffers;

namespace DispLlm;

/// <summary>
/// Pieces of tensors on their way into a file: some are read and cut ahead on other threads, and all are written in the order in which they were added. So
/// neither the disk that is read, nor the one that is written, nor the processor waits for the others.
/// </summary>
internal sealed class PieceStream : IDisposable
{
    // Enough for reading, cutting and writing to overlap; what is held is this many pieces.
    private const int Ahead = 4;

    private readonly SafetensorsWriter _target;
    private readonly Queue<(string Name, Task<int> Taken, byte[] Buffer)> _pieces = new(Ahead);

    public PieceStream(SafetensorsWriter target) => _target = target;

    /// <summary>Adds a piece.</summary>
    /// <param name="name">The tensor that it belongs to.</param>
    /// <param name="bytes">Room that it needs.</param>
    /// <param name="take">Fills the room from its start, and says how much is to be written. Called on another thread.</param>
    public void Add(string name, int bytes, Func<byte[], int> take)
    {
        if (_pieces.Count == Ahead)
        {
            WriteNext();
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(bytes);
        _pieces.Enqueue((name, Task.Run(() => take(buffer)), buffer));
    }

    /// <summary>Writes what was added.</summary>
    public void Flush()
    {
        while (_pieces.Count > 0)
        {
            WriteNext();
        }
    }

    /// <summary>Waits for what is under way, since it reads from files that may be closed next, and drops it.</summary>
    public void Dispose() => Task.WaitAny([Task.WhenAll(_pieces.Select(piece => piece.Taken))]);

    private void WriteNext()
    {
        var (name, taken, buffer) = _pieces.Peek();
        _target.Write(name, buffer.AsSpan(0, taken.GetAwaiter().GetResult()));
        _pieces.Dequeue();
        ArrayPool<byte>.Shared.Return(buffer);
    }
}
