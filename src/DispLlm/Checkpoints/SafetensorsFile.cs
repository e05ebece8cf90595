using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A safetensors file, open for reading. Opening reads and checks the header only; the tensors' bytes are mapped into memory, and the
/// system brings in those that are read. Reading is safe from several threads at once; nothing may be read during or after
/// <see cref="Dispose"/>, and the file must not be shortened while it is open.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly Dictionary<string, TensorInfo> _byName;
    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _data;
    private bool _disposed;

    private SafetensorsFile(string path, FileStream stream, SafetensorsHeader header, long dataOffset)
    {
        FilePath = path;
        Tensors = header.Tensors;
        Metadata = header.Metadata;
        _byName = header.Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        if (stream.Length > dataOffset)
        {
            _map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            _view = _map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            byte* start = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            _data = start + _view.PointerOffset + dataOffset;
        }
    }

    /// <summary>Full path of the file.</summary>
    public string FilePath { get; }

    /// <summary>The tensors in the order of their bytes in the file.</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

    /// <summary>The texts that the file carries beside its tensors, such as <c>format</c>; often empty.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks that its header describes each of its bytes exactly once.</summary>
    /// <param name="path">Path of the file.</param>
    /// <exception cref="CheckpointException">There is no such file, it cannot be read, or it breaks the format.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        path = Path.GetFullPath(path);
        try
        {
            // Delete is shared so that a run can put a new file in this one's place while it is being read.
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            var header = ReadHeader(stream, path, out long dataOffset);
            return new SafetensorsFile(path, stream, header, dataOffset);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException(path, null, "there is no such file.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(path, null, $"the file cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Whether the file holds a tensor of that name.</summary>
    /// <param name="name">The tensor's name.</param>
    public bool Contains(string name) => _byName.ContainsKey(name);

    /// <summary>What the file says about a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <exception cref="CheckpointException">The file holds no tensor of that name.</exception>
    public TensorInfo Info(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return _byName.TryGetValue(name, out var info)
            ? info
            : throw new CheckpointException(FilePath, name, $"the file holds no tensor of that name among its {_byName.Count}.");
    }

    /// <summary>Reads a tensor. It owns its memory: it stays when the file is closed.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="device">Where the tensor goes; the CPU if null. On <c>meta</c> nothing is read.</param>
    /// <param name="type">The type it is converted to; as in the file if null.</param>
    /// <returns>A tensor of the shape that the file gives, in the caller's dispose scope.</returns>
    /// <exception cref="CheckpointException">The file holds no tensor of that name.</exception>
    public Tensor Read(string name, Device? device = null, ScalarType? type = null)
    {
        var info = Info(name);
        ObjectDisposedException.ThrowIf(_disposed, this);
        NativeTorch.EnsureLoaded();
        var wanted = type ?? info.Type;
        if (!device.HoldsNumbers())
        {
            return empty([.. info.Shape], wanted, device);
        }

        var tensor = empty([.. info.Shape], info.Type, CPU);
        try
        {
            TensorBytes.Visit(tensor, (bytes, offset) => Bytes(info, offset, bytes.Length).CopyTo(bytes));
            bool stays = wanted == info.Type && (device is null || device.type == DeviceType.CPU);
            if (stays)
            {
                return tensor;
            }

            var moved = tensor.to(wanted, device ?? CPU);
            tensor.Dispose();
            return moved;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>A tensor's bytes where they lie in the mapped file: nothing is copied. Little-endian, row by row, not aligned.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <returns>The bytes, valid until <see cref="Dispose"/>.</returns>
    /// <exception cref="CheckpointException">The file holds no tensor of that name.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The tensor has more bytes than a span can hold (2 GB): read it in slices.</exception>
    public ReadOnlySpan<byte> Bytes(string name)
    {
        var info = Info(name);
        return info.ByteCount <= int.MaxValue
            ? Bytes(info, 0, (int)info.ByteCount)
            : throw new ArgumentOutOfRangeException(nameof(name), name, $"Tensor {info} has {info.ByteCount} bytes, more than a span can hold: read it in slices.");
    }

    /// <summary>A slice of a tensor's bytes where they lie in the mapped file.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="offset">The slice's first byte, counted from the tensor's first.</param>
    /// <param name="count">The slice's length, in bytes.</param>
    /// <returns>The bytes, valid until <see cref="Dispose"/>.</returns>
    /// <exception cref="CheckpointException">The file holds no tensor of that name.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The slice leaves the tensor.</exception>
    public ReadOnlySpan<byte> Bytes(string name, long offset, int count) => Bytes(Info(name), offset, count);

    /// <summary>Closes the file. Spans into it are invalid from here on; tensors read from it are not.</summary>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _view?.SafeMemoryMappedViewHandle.ReleasePointer();
        _view?.Dispose();
        _map?.Dispose();
    }

    private ReadOnlySpan<byte> Bytes(TensorInfo info, long offset, int count)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, info.ByteCount - count);
        return count == 0 ? [] : new ReadOnlySpan<byte>(_data + info.Offset + offset, count);
    }

    private static SafetensorsHeader ReadHeader(FileStream stream, string path, out long dataOffset)
    {
        long length = stream.Length;
        if (length < 8)
        {
            throw new CheckpointException(path, null, $"the file has {length} bytes; a safetensors file has at least 8. It is cut short: fetch it again.");
        }

        Span<byte> prefix = stackalloc byte[8];
        stream.ReadExactly(prefix);
        ulong headerLength = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerLength > SafetensorsHeader.LongestHeader)
        {
            throw new CheckpointException(
                path,
                null,
                $"the header's length is given as {headerLength} bytes, above the format's {SafetensorsHeader.LongestHeader}. This is not a safetensors file, or it is damaged.");
        }

        if ((long)headerLength > length - 8)
        {
            throw new CheckpointException(
                path, null, $"the header's length is given as {headerLength} bytes, but {length - 8} follow. The file is cut short: fetch it again.");
        }

        byte[] json = new byte[headerLength];
        stream.ReadExactly(json);
        dataOffset = 8 + (long)headerLength;
        return SafetensorsHeader.Parse(json, length - dataOffset, path);
    }
}
