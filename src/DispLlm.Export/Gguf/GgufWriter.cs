using System.Text;
using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>
/// Writes the container of GGUF, version 3: metadata, a list of tensors, their numbers. Our own, since no NuGet package writes GGUF.
/// Everything is little endian.
/// </summary>
internal static class GgufWriter
{
    private const uint Version = 3;
    private const int Alignment = 32;

    /// <summary>Numbers that are encoded at a time: whole blocks, and few enough that copies are small beside the tensor.</summary>
    private const int PieceCount = 1 << 22;

    /// <summary>What is before the numbers, padded.</summary>
    public static byte[] Header(IReadOnlyList<GgufValue> metadata, IReadOnlyList<GgufTensor> tensors)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream, Encoding.UTF8);
        writer.Write("GGUF"u8);
        writer.Write(Version);
        writer.Write((ulong)tensors.Count);
        writer.Write((ulong)metadata.Count);
        foreach (var (key, value) in metadata)
        {
            WriteText(writer, key);
            WriteValue(writer, value);
        }

        long offset = 0;
        foreach (var tensor in tensors)
        {
            WriteText(writer, tensor.Name);
            writer.Write((uint)tensor.Shape.Count);
            foreach (long length in tensor.Shape.Reverse())
            {
                writer.Write((ulong)length);
            }

            writer.Write(GgufEncoding.TypeId(tensor.Type));
            writer.Write((ulong)offset);
            offset += tensor.Bytes + Padding(tensor.Bytes);
        }

        writer.Write(new byte[Padding(stream.Position)]);
        writer.Flush();
        return stream.ToArray();
    }

    /// <summary>Writes the numbers of a tensor, padded.</summary>
    /// <exception cref="ExportException">A number is out of the type's range.</exception>
    public static void Append(AtomicFile file, GgufTensor tensor, CancellationToken cancellationToken)
    {
        long written = 0;
        foreach (var part in tensor.Parts)
        {
            using var scope = NewDisposeScope();
            written += Append(file, tensor, part().contiguous().view(-1), cancellationToken);
        }

        if (written != tensor.Count)
        {
            throw new InvalidOperationException($"{tensor.Name} has {written} numbers, not {tensor.Count}.");
        }

        file.Append(new byte[Padding(tensor.Bytes)]);
    }

    private static long Append(AtomicFile file, GgufTensor tensor, Tensor values, CancellationToken cancellationToken)
    {
        long count = values.numel();
        for (long first = 0; first < count; first += PieceCount)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor piece = values.narrow(0, first, Math.Min(PieceCount, count - first)).to(ScalarType.Float32);
            if (!GgufEncoding.Encode(piece, tensor.Type, encoded => file.Append(encoded.bytes)))
            {
                throw new ExportException(
                    "gguf", tensor.Name, $"{tensor.Name} has numbers beyond the range of {tensor.Type}; export as {GgufType.BF16} or "
                        + $"{GgufType.F32}.");
            }
        }

        return count;
    }

    private static int Padding(long length) => (int)((Alignment - length % Alignment) % Alignment);

    private static void WriteText(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private static void WriteValue(BinaryWriter writer, object value)
    {
        if (value is Array array)
        {
            writer.Write(9u);
            writer.Write(ValueTypeId(array.GetType().GetElementType()!));
            writer.Write((ulong)array.Length);
            foreach (object element in array)
            {
                WriteElement(writer, element);
            }

            return;
        }

        writer.Write(ValueTypeId(value.GetType()));
        WriteElement(writer, value);
    }

    private static uint ValueTypeId(Type type) => type == typeof(uint) ? 4
        : type == typeof(int) ? 5
        : type == typeof(float) ? 6
        : type == typeof(bool) ? 7
        : type == typeof(string) ? 8u
        : throw new ArgumentOutOfRangeException(nameof(type), type, "GGUF has no such value here.");

    private static void WriteElement(BinaryWriter writer, object value)
    {
        switch (value)
        {
            case uint number:
                writer.Write(number);
                break;
            case int number:
                writer.Write(number);
                break;
            case float number:
                writer.Write(number);
                break;
            case bool flag:
                writer.Write(flag);
                break;
            default:
                WriteText(writer, (string)value);
                break;
        }
    }
}
