using System.Globalization;
using Onnx;
using static TorchSharp.torch;
using DataType = Onnx.TensorProto.Types.DataType;

namespace DispLlm.Export;

/// <summary>
/// The file that holds the numbers of a graph's initializers, one after the other; the graph says where each begins. Not thread-safe.
/// </summary>
internal sealed class OnnxDataFile : IDisposable
{
    public const string Name = "model.onnx.data";

    // Wide enough for any vector register.
    private const int Alignment = 64;

    private readonly FileStream _stream;
    private long _start;

    public OnnxDataFile(string folder) =>
        _stream = new FileStream(Path.Combine(folder, Name), FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);

    /// <summary>Writes a whole tensor, float32, float16, bfloat16, int64 or uint8.</summary>
    public TensorProto Write(string name, Tensor value)
    {
        Begin();
        Append(value);
        return End(name, ToOnnx(value.dtype), value.shape);
    }

    /// <summary>Begins a tensor that is appended piece by piece.</summary>
    public void Begin()
    {
        _stream.Write(new byte[(Alignment - (_stream.Position % Alignment)) % Alignment]);
        _start = _stream.Position;
    }

    /// <summary>Appends the numbers of a contiguous tensor.</summary>
    public void Append(Tensor piece) => TensorBytes.Visit(piece, (bytes, _) => _stream.Write(bytes));

    /// <summary>Appends bytes.</summary>
    public void Append(ReadOnlySpan<byte> bytes) => _stream.Write(bytes);

    /// <summary>What the graph says of the tensor that was begun and is now complete.</summary>
    public TensorProto End(string name, DataType type, params ReadOnlySpan<long> shape) =>
        Describe(name, type, _start, _stream.Position - _start, shape);

    /// <summary>The numbers of another initializer, under another name and in another shape.</summary>
    public static TensorProto Share(TensorProto other, string name, params ReadOnlySpan<long> shape)
    {
        var shared = other.Clone();
        shared.Name = name;
        shared.Dims.Clear();
        shared.Dims.AddRange(shape.ToArray());
        return shared;
    }

    public static DataType ToOnnx(ScalarType type) => type switch
    {
        ScalarType.Float32 => DataType.Float,
        ScalarType.Float16 => DataType.Float16,
        ScalarType.BFloat16 => DataType.Bfloat16,
        ScalarType.Int64 => DataType.Int64,
        ScalarType.Byte => DataType.Uint8,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No initializer is of this type."),
    };

    /// <inheritdoc/>
    /// <summary>Flushes the file to the disk: the graph that refers to it is written after it.</summary>
    public void Flush() => _stream.Flush(flushToDisk: true);

    public void Dispose() => _stream.Dispose();

    private static TensorProto Describe(string name, DataType type, long offset, long length, ReadOnlySpan<long> shape)
    {
        var proto = new TensorProto { Name = name, DataType = (int)type, DataLocation = TensorProto.Types.DataLocation.External };
        proto.Dims.AddRange(shape.ToArray());
        foreach (var (key, value) in new[]
        {
            ("location", Name),
            ("offset", offset.ToString(CultureInfo.InvariantCulture)),
            ("length", length.ToString(CultureInfo.InvariantCulture)),
        })
        {
            proto.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        }

        return proto;
    }
}
