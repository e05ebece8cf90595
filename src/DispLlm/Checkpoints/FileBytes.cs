using System.IO.MemoryMappedFiles;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// The bytes of an open file: copied into the caller's memory, which suits what is read once; as spans over the mapped file; and as tensors
/// over it. A map is made when it is first asked for, and lives until this is disposed and the last tensor over it is freed. Safe from
/// several threads.
/// </summary>
internal sealed class FileBytes(FileStream stream, string path) : IDisposable
{
    private readonly Lock _lock = new();
    private MappedFile? _spans;
    private MappedFile? _tensors;
    private bool _disposed;

    /// <summary>Copies bytes of the file.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="bytes">Where they are copied to; filled whole.</param>
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

    /// <summary>Bytes of the mapped file, valid until this is disposed.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="count">Number of bytes.</param>
    public ReadOnlySpan<byte> AsSpan(long offset, int count)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (count == 0)
        {
            return [];
        }

        lock (_lock)
        {
            _spans ??= new MappedFile(stream, MemoryMappedFileAccess.Read);
        }

        return _spans.Bytes(offset, count);
    }

    /// <summary>A tensor over the mapped file: nothing is read until it is used. What is written into it never reaches the file.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="shape">The tensor's sizes.</param>
    /// <param name="type">Type of its elements.</param>
    /// <returns>The tensor, in the caller's dispose scope; null where the bytes cannot be mapped, and have to be copied.</returns>
    public Tensor? TryAsTensor(long offset, IReadOnlyList<long> shape, ScalarType type)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        lock (_lock)
        {
            try
            {
                _tensors ??= new MappedFile(stream, MemoryMappedFileAccess.CopyOnWrite);
            }
            catch (Exception e) when (e is IOException or OutOfMemoryException)
            {
                // A system that reserves memory for all that could be changed may have too little.
                return null;
            }
        }

        return _tensors.TryWrap(offset, shape, type, SafetensorsType.ByteSize(type));
    }

    /// <summary>Closes the file. Tensors over it stay valid.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _spans?.Dispose();
        _tensors?.Dispose();
        stream.Dispose();
    }

    private int ReadSome(long offset, Span<byte> bytes)
    {
        try
        {
            int read = RandomAccess.Read(stream.SafeFileHandle, bytes, offset);
            return read > 0
                ? read
                : throw new CheckpointException(
                    path, null, $"the file ends at byte {offset}: it became shorter while it was open. Fetch it again.");
        }
        catch (IOException e)
        {
            throw new CheckpointException(path, null, $"the file cannot be read at byte {offset}: {e.Message}", e);
        }
    }
}
