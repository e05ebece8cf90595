using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// A file of named tensors, open for reading, whatever its format. Opening reads and checks what the file says about its tensors, and none
/// of their bytes. Reading is safe from several threads; nothing may be read during or after <see cref="Dispose"/>, and the file must not
/// be truncated while it is open. It may be deleted or replaced.
/// </summary>
public abstract class WeightsFile : IDisposable
{
    /// <summary>Bytes of a weight that are looked through at a time, while they are in the processor's cache.</summary>
    private const int CheckedPiece = 1 << 20;

    private readonly Dictionary<string, TensorInfo> _byName;
    private readonly FileBytes _bytes;
    private readonly long _dataOffset;

    /// <summary>Takes over an open file whose tensors are known to be within it.</summary>
    private protected WeightsFile(string path, FileStream stream, IReadOnlyList<TensorInfo> tensors, long dataOffset)
    {
        FilePath = path;
        Tensors = tensors;
        _byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        _bytes = new FileBytes(stream, path);
        _dataOffset = dataOffset;
    }

    /// <summary>Full path of the file.</summary>
    public string FilePath { get; }

    /// <summary>The tensors in the order of their bytes in the file.</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

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

    /// <summary>Reads a tensor. It owns its memory and stays valid when the file is closed.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="device">The device of the tensor; the CPU if null. On <c>meta</c> nothing is read.</param>
    /// <param name="type">The type it is converted to; as in the file if null.</param>
    /// <returns>A tensor of the shape that the file gives, in the caller's dispose scope.</returns>
    /// <exception cref="CheckpointException">The file holds no tensor of that name.</exception>
    public Tensor Read(string name, Device? device = null, ScalarType? type = null)
    {
        var info = Info(name);
        return Read(info, device, type ?? info.Type, Copy);
    }

    /// <summary>As <see cref="Read(string, Device, ScalarType?)"/>, for a weight, in which NaN and infinity are refused.</summary>
    internal Tensor ReadWeight(string name, Device? device, ScalarType type) => Read(Info(name), device, type, (info, offset, bytes) =>
    {
        for (int at = 0, count; at < bytes.Length; at += count)
        {
            count = Math.Min(CheckedPiece, bytes.Length - at);
            var piece = bytes.Slice(at, count);
            Copy(info, offset + at, piece);
            if (NonFinite.IsIn(piece, info.Type))
            {
                throw NonFinite.Error(FilePath, info.Name);
            }
        }
    });

    private static Tensor Read(TensorInfo info, Device? device, ScalarType wanted, PieceReader read)
    {
        NativeTorch.EnsureLoaded();
        if (!device.HoldsNumbers())
        {
            return empty([.. info.Shape], wanted, device);
        }

        if (wanted != info.Type && IsCpu(device))
        {
            return ReadConverted(info, wanted, read);
        }

        var tensor = empty([.. info.Shape], info.Type, CPU);
        try
        {
            TensorBytes.Visit(tensor, (bytes, offset) => read(info, offset, bytes));
            if (IsAsStored(info, device, wanted))
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

    /// <summary>Reads a tensor in another type, piece by piece: a large one is not held in both.</summary>
    private static Tensor ReadConverted(TensorInfo info, ScalarType wanted, PieceReader read)
    {
        const long Piece = 1 << 24;
        var tensor = empty([.. info.Shape], wanted, CPU);
        try
        {
            using var flat = tensor.view(-1);
            for (long first = 0; first < flat.numel(); first += Piece)
            {
                long count = Math.Min(Piece, flat.numel() - first), start = first;
                using var piece = empty([count], info.Type, CPU);
                TensorBytes.Visit(piece, (bytes, offset) => read(info, (start * piece.ElementSize) + offset, bytes));
                using var target = flat.narrow(0, first, count);
                target.copy_(piece).Dispose();
            }

            return tensor;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A tensor over the mapped file, without a copy; null unless it is wanted on the CPU and in the file's type. It stays valid when the
    /// file is closed, and what is written into it does not reach the file.
    /// </summary>
    internal Tensor? TryMap(string name, Device? device, ScalarType type)
    {
        var info = Info(name);
        NativeTorch.EnsureLoaded();
        return IsAsStored(info, device, type) && info.ByteCount > 0
            ? _bytes.TryAsTensor(_dataOffset + info.Offset, info.Shape, info.Type)
            : null;
    }

    /// <summary>
    /// Reads a slice of a tensor's bytes. Unlike <see cref="Bytes(string, long, int)"/> it keeps no page of the file in memory.
    /// </summary>
    internal void ReadBytes(string name, long offset, Span<byte> bytes) => Copy(Info(name), offset, bytes);

    /// <summary>A tensor's bytes in the mapped file, not copied. Little-endian, row by row, not aligned.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <returns>The bytes, valid until <see cref="Dispose"/>.</returns>
    /// <exception cref="CheckpointException">The file holds no tensor of that name.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The tensor has more bytes than a span can hold (2 GB): read it in slices.</exception>
    public ReadOnlySpan<byte> Bytes(string name)
    {
        var info = Info(name);
        return info.ByteCount <= int.MaxValue
            ? Bytes(info, 0, (int)info.ByteCount)
            : throw new ArgumentOutOfRangeException(
                nameof(name), name, $"Tensor {info} has {info.ByteCount} bytes, more than a span can hold: read it in slices.");
    }

    /// <summary>A slice of a tensor's bytes in the mapped file, not copied.</summary>
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
        _bytes.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Opens a file's stream for one of the formats; errors of the system become <see cref="CheckpointException"/>.</summary>
    private protected static T Open<T>(string path, Func<FileStream, string, T> read)
        where T : WeightsFile
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        path = Path.GetFullPath(path);
        try
        {
            // Sharing delete lets a run replace this file while it is read.
            var stream = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
            try
            {
                return read(stream, path);
            }
            catch
            {
                stream.Dispose();
                throw;
            }
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

    /// <summary>Fills a piece of a tensor's memory, which begins <paramref name="offset"/> bytes into the tensor.</summary>
    private delegate void PieceReader(TensorInfo info, long offset, Span<byte> bytes);

    private static bool IsAsStored(TensorInfo info, Device? device, ScalarType wanted) =>
        wanted == info.Type && IsCpu(device);

    private static bool IsCpu(Device? device) => device is null || device.type == DeviceType.CPU;

    private ReadOnlySpan<byte> Bytes(TensorInfo info, long offset, int count) => _bytes.AsSpan(FileOffset(info, offset, count), count);

    private void Copy(TensorInfo info, long offset, Span<byte> bytes) => _bytes.Read(FileOffset(info, offset, bytes.Length), bytes);

    /// <summary>The offset of a slice of a tensor in the file.</summary>
    private long FileOffset(TensorInfo info, long offset, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, info.ByteCount - count);
        return _dataOffset + info.Offset + offset;
    }
}
