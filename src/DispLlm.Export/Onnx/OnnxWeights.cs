using System.Globalization;
using System.Runtime.InteropServices;
using Onnx;
using static TorchSharp.torch;
using DataType = Onnx.TensorProto.Types.DataType;

namespace DispLlm.Export;

/// <summary>
/// Adds the weights of a checkpoint to a graph, with the operators that use them, one tensor in memory at a time. Not thread-safe.
/// </summary>
/// <param name="source">The checkpoint.</param>
/// <param name="graph">The graph.</param>
/// <param name="data">Where numbers are written.</param>
/// <param name="options">In which type.</param>
/// <param name="progress">Where every parameter is reported to.</param>
/// <param name="cancellationToken">Looked at before each parameter.</param>
internal sealed class OnnxWeights(
    CheckpointSource source, OnnxGraph graph, OnnxDataFile data, OnnxExportOptions options, IProgress<ExportProgress>? progress,
    CancellationToken cancellationToken)
{
    // Numbers of a matrix that are converted at once.
    private const long Piece = 1 << 22;

    // The operator's accuracy_level: it may round its input to 8 bits, which its fast kernels on a CPU do.
    private const int Int8Activations = 4;

    private readonly ExportClock _clock = new(progress, ParameterCatalog.Parameters(source.Spec)
        .Count(parameter => source.Has(parameter.Role, parameter.Block, parameter.IsBias)));

    private readonly HashSet<(WeightRole, int, bool)> _read = [];
    private string? _ones;
    private TensorProto? _embedding;
    private QuantizedMatrix? _quantizedEmbedding;

    /// <summary>A linear projection with its bias.</summary>
    /// <param name="input">The input, <c>[batch, seq, in]</c>.</param>
    /// <param name="role">The projection.</param>
    /// <param name="block">The block's index from 0; -1 outside blocks.</param>
    /// <param name="withZero">Whether one more feature follows, which is 0.</param>
    /// <returns><c>[batch, seq, out]</c>.</returns>
    public string Linear(string input, WeightRole role, int block, bool withZero = false)
    {
        using var scope = NewDisposeScope();
        Tensor weight = Read(role, block);
        string name = Name(role, block), product = name + ".product";
        string output = options.IsQuantized
            ? MatMulNBits(input, product, Quantize(name, weight, options.WeightType == OnnxWeightType.Int4 ? 4 : 8, withZero))
            : graph.Add("MatMul", product, [input, Transposed(name + ".weight", weight, withZero)]);
        return source.Has(role, block, isBias: true)
            ? graph.Add("Add", name + ".sum", [output, Bias(role, block, withZero ? 1 : 0)])
            : output;
    }

    /// <summary>The rows of the token embedding for token ids, in the type of the graph.</summary>
    public string Embed(string ids)
    {
        using var scope = NewDisposeScope();
        Tensor weight = Read(WeightRole.TokenEmbedding, -1);
        string name = Name(WeightRole.TokenEmbedding, -1);
        if (!options.IsQuantized)
        {
            _embedding = Whole(name + ".weight", weight, isMatrix: true);
            string rows = graph.Add("Gather", name + ".rows", [graph.Add(_embedding), ids], ("axis", 0));
            return Widened(rows);
        }

        // In 8 bits, so that a head can share it; in 4 bits both would lose too much.
        var matrix = Quantize(name, weight, bits: 8, withZero: false);
        _quantizedEmbedding = matrix;
        int padded = matrix.BlockCount * options.BlockSize;
        string table = graph.Add(OnnxDataFile.Share(matrix.Blocks, name + ".table", matrix.Rows, padded));
        string scales = graph.Add(OnnxDataFile.Share(matrix.Scales, name + ".table.scales", matrix.Rows, matrix.BlockCount));
        string gathered = graph.Add(
            "GatherBlockQuantized", name + ".rows", [table, ids, scales],
            ("gather_axis", 0), ("quantize_axis", 1), ("block_size", options.BlockSize), ("bits", 8));
        return padded == matrix.Columns
            ? gathered
            : graph.Add(
                "Slice", name + ".cut", [gathered, graph.Integers(0), graph.Integers(matrix.Columns), graph.Integers(2)]);
    }

    /// <summary>The head, which may share the token embedding's numbers: they are stored once.</summary>
    /// <param name="input"><c>[batch, seq, embedding]</c>.</param>
    /// <returns>Logits <c>[batch, seq, vocab]</c>, as they are before a factor or a cap.</returns>
    public string Head(string input)
    {
        if (!source.Spec.TieWordEmbeddings)
        {
            return Linear(input, WeightRole.Head, -1);
        }

        string logits = options.IsQuantized
            ? MatMulNBits(input, "head.product", _quantizedEmbedding!)
            : graph.Add("FusedMatMul", "head.product", [input, Widened(_embedding!.Name)], ("transB", 1));
        return source.Has(WeightRole.Head, -1, isBias: true)
            ? graph.Add("Add", "head.sum", [logits, Bias(WeightRole.Head, -1, 0)])
            : logits;
    }

    /// <summary>A table of which whole rows are read, without its first rows.</summary>
    public string Table(WeightRole role, int firstRow, int rows)
    {
        using var scope = NewDisposeScope();
        return graph.Add(Whole(Name(role, -1) + ".weight", Read(role, -1).narrow(0, firstRow, rows), isMatrix: false));
    }

    /// <summary>A weight or bias of one dimension.</summary>
    /// <param name="role">What it belongs to.</param>
    /// <param name="block">The block's index from 0; -1 outside blocks.</param>
    /// <param name="isBias">Whether the bias is meant.</param>
    /// <param name="kept">The features of the stream that are kept of it; null for all that it has.</param>
    /// <param name="name">What it is called; null for a name by its role.</param>
    /// <param name="shape">Another shape for it; none for one dimension.</param>
    public string Vector(
        WeightRole role, int block, bool isBias, IReadOnlyList<int>? kept = null, string? name = null, params long[] shape)
    {
        using var scope = NewDisposeScope();
        Tensor value = Read(role, block, isBias);

        // A checkpoint may hold it cut.
        if (kept is not null && value.numel() != kept.Count)
        {
            value = value.index_select(0, tensor([.. kept.Select(index => (long)index)], ScalarType.Int64));
        }

        name = (name ?? Name(role, block)) + (isBias ? ".bias" : ".weight");
        return graph.Add(Whole(name, shape.Length == 0 ? value : value.view(shape), isMatrix: false));
    }

    /// <summary>A computed tensor, int64 or float.</summary>
    public string Computed(string name, Tensor value) => graph.Add(
        value.dtype == ScalarType.Int64 ? data.Write(name, value) : Whole(name, value, isMatrix: false));

    /// <summary>A weight of ones: a norm before the weights of each head.</summary>
    public string Ones(int count) => _ones ??= Computed("ones", ones(count));

    private static string Name(WeightRole role, int block) =>
        block < 0 ? role.ToString() : string.Create(CultureInfo.InvariantCulture, $"blocks.{block}.{role}");

    private string Bias(WeightRole role, int block, int zeros)
    {
        using var scope = NewDisposeScope();
        Tensor bias = nn.functional.pad(Read(role, block, isBias: true), [0, zeros]);
        return graph.Add(Whole(Name(role, block) + ".bias", bias, isMatrix: false));
    }

    private Tensor Read(WeightRole role, int block, bool isBias = false)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Tensor value = source.Read(role, block, isBias);
        if (_read.Add((role, block, isBias)))
        {
            _clock.Wrote();
        }

        return value;
    }

    private ScalarType StoredType(bool isMatrix) => options.WeightType switch
    {
        OnnxWeightType.Float16 => ScalarType.Float16,
        OnnxWeightType.BFloat16 when isMatrix => ScalarType.BFloat16,
        _ => ScalarType.Float32,
    };

    private TensorProto Whole(string name, Tensor value, bool isMatrix)
    {
        data.Begin();
        var type = StoredType(isMatrix);
        using var flat = value.contiguous().view(-1);
        for (long first = 0; first < flat.numel(); first += Piece)
        {
            using var scope = NewDisposeScope();
            data.Append(Converted(flat.narrow(0, first, Math.Min(Piece, flat.numel() - first)), type, name));
        }

        return data.End(name, OnnxDataFile.ToOnnx(type), value.shape);
    }

    /// <summary>The weight as MatMul takes it, <c>[in, out]</c>.</summary>
    private string Transposed(string name, Tensor weight, bool withZero)
    {
        data.Begin();
        var type = StoredType(isMatrix: true);
        var (rows, columns) = (weight.size(0), weight.size(1));
        long step = Math.Max(1, Piece / Math.Max(1, rows));
        for (long first = 0; first < columns; first += step)
        {
            using var scope = NewDisposeScope();
            Tensor piece = weight.narrow(1, first, Math.Min(step, columns - first)).t();
            piece = withZero ? nn.functional.pad(piece, [0, 1]) : piece;
            data.Append(Converted(piece, type, name).contiguous());
        }

        return Widened(graph.Add(data.End(name, OnnxDataFile.ToOnnx(type), columns, withZero ? rows + 1 : rows)));
    }

    private static Tensor Converted(Tensor value, ScalarType type, string name)
    {
        Tensor converted = value.to(type);
        return type != ScalarType.Float16 || converted.isfinite().all().ReadBool() ? converted : throw new ExportException(
            "onnx", name, $"'{name}' holds numbers beyond {Half.MaxValue}, the largest of float16: take another type of weights.");
    }

    /// <summary>A value in bfloat16 in the type of the graph: what is constant is widened once, when the model is loaded.</summary>
    private string Widened(string value) => options.WeightType == OnnxWeightType.BFloat16
        ? graph.Add("Cast", value + ".wide", [value], ("to", (int)OnnxDataFile.ToOnnx(graph.Type)))
        : value;

    private QuantizedMatrix Quantize(string name, Tensor weight, int bits, bool withZero)
    {
        int rows = (int)weight.size(0), columns = (int)weight.size(1);
        var quantizer = new BlockQuantizer(bits, options.BlockSize, columns);
        int all = withZero ? rows + 1 : rows, rowBytes = quantizer.Blocks * quantizer.BlockBytes;
        float[] scales = new float[all * quantizer.Blocks];
        byte[] zeroPoints = new byte[all * quantizer.ZeroPointBytes];
        int step = (int)Math.Clamp(Piece / Math.Max(1, columns), 1, Math.Max(1, rows));
        float[] values = new float[step * columns];
        byte[] quantized = new byte[step * rowBytes];
        data.Begin();
        for (int first = 0; first < rows; first += step)
        {
            int count = Math.Min(step, rows - first), start = first;
            using var piece = weight.narrow(0, first, count).contiguous();
            piece.data<float>().CopyTo(values);
            Parallel.For(0, count, row => quantizer.Quantize(
                values.AsSpan(row * columns, columns),
                quantized.AsSpan(row * rowBytes, rowBytes),
                scales.AsSpan((start + row) * quantizer.Blocks, quantizer.Blocks),
                zeroPoints.AsSpan((start + row) * quantizer.ZeroPointBytes, quantizer.ZeroPointBytes)));
            data.Append(quantized.AsSpan(0, count * rowBytes));
        }

        // A row of zeros has scales of 0.
        data.Append(new byte[(all - rows) * rowBytes]);
        var blocks = data.End(name + ".weight", DataType.Uint8, all, quantizer.Blocks, quantizer.BlockBytes);
        return new QuantizedMatrix(
            blocks,
            Written(name + ".scales", DataType.Float, MemoryMarshal.AsBytes<float>(scales), scales.Length),
            quantizer.HasZeroPoints ? Written(name + ".zero_points", DataType.Uint8, zeroPoints, zeroPoints.Length) : null,
            all, columns, bits, quantizer.Blocks);
    }

    private TensorProto Written(string name, DataType type, ReadOnlySpan<byte> bytes, long count)
    {
        data.Begin();
        data.Append(bytes);
        return data.End(name, type, count);
    }

    private string MatMulNBits(string input, string name, QuantizedMatrix matrix)
    {
        string[] weights = [input, graph.Add(matrix.Blocks), graph.Add(matrix.Scales)];
        return graph.Add(
            "MatMulNBits", name, matrix.ZeroPoints is { } zeroPoints ? [.. weights, graph.Add(zeroPoints)] : weights,
            ("K", matrix.Columns), ("N", matrix.Rows), ("bits", matrix.Bits), ("block_size", options.BlockSize),
            ("accuracy_level", Int8Activations));
    }

    /// <summary>A quantized matrix in the data file; no zero points where all are the middle of the range.</summary>
    private sealed record QuantizedMatrix(
        TensorProto Blocks, TensorProto Scales, TensorProto? ZeroPoints, int Rows, int Columns, int Bits, int BlockCount);
}
