using System.IO.MemoryMappedFiles;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// The bytes of an open file, in the three ways in which they are wanted: read into memory of the caller's, which is how much memory passes
/// by without being held; seen where they lie in the mapped file; and lent to tensors. A map is made when it is first asked for, and lives
/// until this is disposed and the last tensor over it is gone. Safe from several threads at once.
/// </summary>
internal sealed unsafe class FileBytes : IDisposable
{
    private readonly FileStream _stream;
    private readonly string _path;
    private readonly Lock _lock = new();
    private MemoryMappedViewAccessor? _seen;
    private MemoryMappedViewAccessor? _lent;
    private byte* _seenData;
    private bool _disposed;

    /// <summary>Takes over an open file.</summary>
    public FileBytes(FileStream stream, string path)
    {
        _stream = stream;
        _path = path;
    }

    /// <summary>Reads bytes from a place in the file.</summary>
    public void Read(long offset, Span<byte> bytes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        while (!bytes.IsEmpty)
        {
            int read = ReadSome(offset, bytes);
            offset += read;
            bytes = bytes[read..];
        }
    }

    /// <summary>Bytes where they lie, valid until this is disposed.</summary>
    public ReadOnlySpan<byte> See(long offset, int count)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (count == 0)
        {
            return [];
        }

        lock (_lock)
        {
            if (_seen is null)
            {
                _seen = Map(MemoryMappedFileAccess.Read);
                _seen.SafeMemoryMappedViewHandle.AcquirePointer(ref _seenData);
                _seenData += _seen.PointerOffset;
            }
        }

        return new ReadOnlySpan<byte>(_seenData + offset, count);
    }

    /// <summary>
    /// A tensor over the file's bytes: nothing is read until it is used. What is written into it stays in memory and never reaches the file.
    /// </summary>
    /// <returns>The tensor, in the caller's dispose scope; null where it cannot be, and a copy has to do.</returns>
    public Tensor? Lend(long offset, IReadOnlyList<long> shape, ScalarType type)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!TryMapForTensors())
        {
            return null;
        }

        var view = _lent!.SafeMemoryMappedViewHandle;
        byte* start = null;
        view.AcquirePointer(ref start);
        var address = (nint)(start + _lent.PointerOffset + offset);
        bool isAligned = address % SafetensorsType.ByteSize(type) == 0;
        var tensor = isAligned ? ExternalMemory.TryWrap(address, shape, type, view.ReleasePointer) : null;
        if (tensor is null)
        {
            view.ReleasePointer();
        }

        return tensor;
    }

    /// <summary>Closes the file. Tensors keep what they were lent.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _seen?.SafeMemoryMappedViewHandle.ReleasePointer();
        _seen?.Dispose();

        // The view's handle counts the tensors: the memory goes with the last of them.
        _lent?.Dispose();
        _stream.Dispose();
    }

    private int ReadSome(long offset, Span<byte> bytes)
    {
        try
        {
            int read = RandomAccess.Read(_stream.SafeFileHandle, bytes, offset);
            return read > 0
                ? read
                : throw new CheckpointException(_path, null, $"the file ends at byte {offset}: it became shorter while it was open. Fetch it again.");
        }
        catch (IOException e)
        {
            throw new CheckpointException(_path, null, $"the file cannot be read at byte {offset}: {e.Message}", e);
        }
    }

    private bool TryMapForTensors()
    {
        lock (_lock)
        {
            try
            {
                // Private pages: whoever changes a weight changes his copy of a page, and neither crashes nor touches the file.
                _lent ??= Map(MemoryMappedFileAccess.CopyOnWrite);
                return true;
            }
            catch (Exception e) when (e is IOException or OutOfMemoryException)
            {
                // A system that reserves memory for all that could be changed may have too little.
                return false;
            }
        }
    }

    private MemoryMappedViewAccessor Map(MemoryMappedFileAccess access)
    {
        using var map = MemoryMappedFile.CreateFromFile(_stream, null, 0, access, HandleInheritability.None, leaveOpen: true);
        return map.CreateViewAccessor(0, 0, access);
    }
}
