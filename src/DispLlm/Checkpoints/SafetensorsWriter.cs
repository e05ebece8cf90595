using System.Collections.ObjectModel;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// Writes a safetensors file in one pass. The tensors are declared first, because the header with their offsets comes first in the file;
/// then their bytes follow in the same order, as tensors or as spans. The target is replaced by <see cref="Complete"/> only; until then,
/// and after a crash, the old file is there. The same input gives the same bytes. Not thread-safe.
/// </summary>
public sealed class SafetensorsWriter : IDisposable
{
    /// <summary>Bytes that are flushed to the disk together while more are written.</summary>
    private const long FlushedTogether = 64 << 20;

    /// <summary>
    /// What the data begin at a multiple of, in bytes: a cache line, so that SIMD kernels on mapped weights do not read across two. The
    /// format asks for 8.
    /// </summary>
    private const int Alignment = 64;

    private readonly AtomicFile _file;
    private readonly TensorInfo[] _tensors;
    private int _current;
    private long _written;
    private long _unflushed;
    private bool _complete;

    private SafetensorsWriter(AtomicFile file, TensorInfo[] tensors)
    {
        _file = file;
        _tensors = tensors;
    }

    /// <summary>
    /// The metadata that a file gets if none is given: <c>format</c> is <c>pt</c>, as loaders expect for PyTorch's layout.
    /// </summary>
    public static IReadOnlyDictionary<string, string> DefaultMetadata { get; } =
        new ReadOnlyDictionary<string, string>(new Dictionary<string, string> { ["format"] = "pt" });

    /// <summary>Begins a file beside its target.</summary>
    /// <param name="path">Path of the target; its folder must exist.</param>
    /// <param name="tensors">Name, type and shape of each tensor, in the order in which they will be written.</param>
    /// <param name="metadata">Texts to carry beside the tensors; <see cref="DefaultMetadata"/> if null.</param>
    /// <exception cref="ArgumentException">A name is empty, reserved or given twice; a type or shape cannot be stored.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static SafetensorsWriter Create(
        string path, IEnumerable<TensorInfo> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        TensorInfo[] declared = [.. tensors];
        Check(declared);
        byte[] header = WriteHeader(declared, metadata ?? DefaultMetadata);
        if (header.Length - 8 > SafetensorsHeader.LongestHeader)
        {
            throw new ArgumentException(
                $"The header would take {header.Length} bytes; the format allows {SafetensorsHeader.LongestHeader}.", nameof(tensors));
        }

        var file = new AtomicFile(path);
        try
        {
            file.Stream.Write(header);
            return new SafetensorsWriter(file, declared);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Writes one whole tensor, from whichever device it is on.</summary>
    /// <param name="name">Its name: the next one declared.</param>
    /// <param name="tensor">The tensor; its shape and type must be those declared.</param>
    /// <exception cref="ArgumentException">Another tensor is due, or the shape or type is not the one declared.</exception>
    public void Write(string name, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        var info = Due(name);
        if (_written != 0 || tensor.dtype != info.Type || !info.Shape.SequenceEqual(tensor.shape))
        {
            string found = $"{SafetensorsType.ToName(tensor.dtype)}[{string.Join(", ", tensor.shape)}]";
            throw new ArgumentException(
                _written != 0
                    ? $"Tensor '{name}' was begun or written already."
                    : $"Tensor '{name}' was declared as {info}, but is {found}.", nameof(tensor));
        }

        // A copy to the CPU or into row order is freed here: there are many tensors.
        using var scope = NewDisposeScope();
        var rows = tensor.detach().to(CPU).contiguous();
        TensorBytes.Visit(rows, (bytes, _) => Append(info, bytes));
    }

    /// <summary>
    /// Writes the next bytes of a tensor: all of it, or as many as are at hand; the tensor is done when its declared size is reached.
    /// </summary>
    /// <param name="name">Its name: the one begun, or the next one declared.</param>
    /// <param name="bytes">Its next bytes: little-endian, row by row.</param>
    /// <exception cref="ArgumentException">Another tensor is due, or the bytes are more than were declared.</exception>
    public void Write(string name, ReadOnlySpan<byte> bytes) => Append(Due(name), bytes);

    /// <summary>Flushes the file to the disk and replaces the target by it.</summary>
    /// <exception cref="InvalidOperationException">A declared tensor has not been written whole.</exception>
    /// <exception cref="IOException">The disk is full, or the target cannot be replaced.</exception>
    public void Complete()
    {
        ObjectDisposedException.ThrowIf(_complete, this);
        while (_current < _tensors.Length && _written == _tensors[_current].ByteCount)
        {
            _current++;
            _written = 0;
        }

        if (_current < _tensors.Length)
        {
            var info = _tensors[_current];
            throw new InvalidOperationException(
                $"{_file.Target}: tensor '{info.Name}' has {_written} of its {info.ByteCount} bytes; write "
                    + $"all {_tensors.Length} declared tensors first.");
        }

        _file.Complete();
        _complete = true;
    }

    /// <summary>Deletes the new file and leaves the target as it was, unless <see cref="Complete"/> was called.</summary>
    public void Dispose() => _file.Dispose();

    /// <summary>
    /// The header of tensors that follow each other in the order given: length, JSON, and padding to <see cref="Alignment"/>.
    /// </summary>
    internal static byte[] WriteHeader(IEnumerable<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var json = new MemoryStream();
        json.Write(stackalloc byte[8]);
        using (var writer = new Utf8JsonWriter(json))
        {
            writer.WriteStartObject();
            if (metadata.Count > 0)
            {
                writer.WriteStartObject(SafetensorsHeader.MetadataKey);
                foreach (var (name, value) in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
                {
                    writer.WriteString(name, value);
                }

                writer.WriteEndObject();
            }

            long offset = 0;
            foreach (var tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", SafetensorsType.ToName(tensor.Type));
                writer.WriteStartArray("shape");
                foreach (long size in tensor.Shape)
                {
                    writer.WriteNumberValue(size);
                }

                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                offset = checked(offset + tensor.ByteCount);
                writer.WriteNumberValue(offset);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        while (json.Length % Alignment != 0)
        {
            json.WriteByte((byte)' ');
        }

        byte[] header = json.ToArray();
        BitConverter.TryWriteBytes(header, (long)header.Length - 8);
        return header;
    }

    private static void Check(TensorInfo[] tensors)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        long total = 0;
        foreach (var tensor in tensors)
        {
            if (string.IsNullOrEmpty(tensor.Name) || tensor.Name == SafetensorsHeader.MetadataKey || !names.Add(tensor.Name))
            {
                throw new ArgumentException($"Tensor name '{tensor.Name}' is empty, reserved or declared twice.", nameof(tensors));
            }

            if (tensor.Shape.Any(size => size < 0) || SafetensorsType.Parse(SafetensorsType.ToName(tensor.Type)) is null)
            {
                throw new ArgumentException(
                    $"Tensor {tensor} cannot be stored: sizes are 0 or more, types are {SafetensorsType.Known}.", nameof(tensors));
            }

            try
            {
                total = checked(total + tensor.ByteCount);
            }
            catch (OverflowException e)
            {
                throw new ArgumentException($"Tensor {tensor} has more bytes than 64 bits can count.", nameof(tensors), e);
            }
        }
    }

    /// <summary>The declaration of the tensor that may be written now.</summary>
    private TensorInfo Due(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        ObjectDisposedException.ThrowIf(_complete, this);
        int due = _current;
        long written = _written;
        while (due < _tensors.Length && _tensors[due].Name != name && written == _tensors[due].ByteCount)
        {
            // The next one. Tensors without bytes are complete at once.
            due++;
            written = 0;
        }

        if (due == _tensors.Length)
        {
            throw new ArgumentException($"Tensor '{name}' is not due: it was not declared, or it is written.", nameof(name));
        }

        var info = _tensors[due];
        if (info.Name != name)
        {
            throw new ArgumentException(
                $"Tensor '{name}' is not due: '{info.Name}' is, with {written} of its {info.ByteCount} bytes written.", nameof(name));
        }

        (_current, _written) = (due, written);
        return info;
    }

    private void Append(TensorInfo info, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > info.ByteCount - _written)
        {
            throw new ArgumentException(
                $"Tensor {info} takes {info.ByteCount} bytes; {_written} are written, and {bytes.Length} more are too many.",
                nameof(bytes));
        }

        _file.Append(bytes);
        _written += bytes.Length;
        _unflushed += bytes.Length;
        if (_unflushed >= FlushedTogether)
        {
            _file.FlushAhead();
            _unflushed = 0;
        }
    }
}
