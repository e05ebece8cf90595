using static TorchSharp.torch;
using DataType = Onnx.TensorProto.Types.DataType;

namespace DispLlm.Export;

/// <summary>
/// What a graph knows of the sequences that it reads: token ids, and by the attention mask how long each is and where its new tokens
/// stand. Padding may follow a prompt; its mask is 0. Not thread-safe.
/// </summary>
internal sealed class OnnxSequence
{
    private readonly OnnxGraph _graph;
    private readonly int _contextLength;
    private readonly string _real;
    private readonly Dictionary<RotarySpec, (string Cosine, string Sine)> _tables = [];
    private readonly string _length;
    private string? _past;
    private string? _positions;

    /// <summary>Declares the inputs.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="contextLength">Positions that there are.</param>
    public OnnxSequence(OnnxGraph graph, int contextLength)
    {
        (_graph, _contextLength) = (graph, contextLength);
        Ids = graph.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        _length = SizeOf(Ids, "sequence.ids");
        string mask = graph.Input("attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        _real = graph.Add("ReduceSum", "sequence.real", [mask, graph.Integers(1)], ("keepdims", 0));
        LastIndex = graph.Add(
            "Cast", "sequence.last", [graph.Add("Sub", "sequence.last64", [_real, graph.Integer(1)])], ("to", (int)DataType.Int32));
        TotalLength = graph.Add("Cast", "sequence.total", [SizeOf(mask, "sequence.mask")], ("to", (int)DataType.Int32));
    }

    /// <summary>Token ids, <c>[batch, seq]</c>.</summary>
    public string Ids { get; }

    /// <summary>The index of the last token of each row among all that were read, <c>[batch]</c>, int32.</summary>
    public string LastIndex { get; }

    /// <summary>The number of columns of all that was read, int32.</summary>
    public string TotalLength { get; }

    /// <summary>Positions of the tokens, <c>[batch, seq]</c>, int64.</summary>
    public string Positions => _positions ??= _graph.Add(
        "Add",
        "sequence.positions",
        [
            _graph.Add("Unsqueeze", "sequence.first", [Past, _graph.Integers(1)]),
            _graph.Add("Range", "sequence.range", [_graph.Integer(0), _length, _graph.Integer(1)]),
        ]);

    // Tokens of each row that were read before; padding after a prompt does not make it negative.
    private string Past => _past ??= _graph.Add(
        "Max", "sequence.past", [_graph.Add("Sub", "sequence.before", [_real, _length]), _graph.Integer(0)]);

    /// <summary>The longest sequence of which the graph's fixed rotary frequencies are those of the model, in tokens.</summary>
    public static int LongestExact(DecoderSpec spec) => Enumerable.Range(0, spec.NumLayers)
        .Select(block => spec.GetAttention(block).Rotary?.Scaling switch
        {
            RotaryScaling.Dynamic dynamic => dynamic.OriginalMaxPositions,
            RotaryScaling.LongRope longRope => longRope.OriginalMaxPositions,
            _ => spec.MaxPositions,
        }).Append(spec.MaxPositions).Min();

    /// <summary>The last real token of each row: <c>[batch, 1, features]</c> of <c>[batch, seq, features]</c>.</summary>
    public string Last(string hidden)
    {
        string column = _graph.Add(
            "Sub", "sequence.column", [_graph.Add("Sub", "sequence.column_and_past", [_real, Past]), _graph.Integer(1)]);
        string index = _graph.Add("Unsqueeze", "sequence.last_column", [column, _graph.Integers(1)]);
        string last = _graph.Add("GatherND", "hidden.last_row", [hidden, index], ("batch_dims", 1));
        return _graph.Add("Unsqueeze", "hidden.last", [last, _graph.Integers(1)]);
    }

    /// <summary>Cosine and sine of all positions, <c>[positions, rotated / 2]</c> each; blocks that rotate alike share them.</summary>
    public (string Cosine, string Sine) RotaryTable(RotarySpec rotary, OnnxWeights weights)
    {
        if (!_tables.TryGetValue(rotary, out var table))
        {
            using var scope = NewDisposeScope();
            Tensor frequencies = tensor(RotaryFrequencies.Compute(rotary, 0), ScalarType.Float32);
            Tensor angles = ScalarOps.Arange(0, _contextLength).to(ScalarType.Float32).unsqueeze(-1) * frequencies;
            double factor = rotary.Scaling.AttentionFactor;
            string name = $"rotary.{_tables.Count}";
            table = (weights.Computed(name + ".cosine", angles.cos().MulScalar(factor)),
                weights.Computed(name + ".sine", angles.sin().MulScalar(factor)));
            _tables.Add(rotary, table);
        }

        return table;
    }

    private string SizeOf(string value, string name)
    {
        string shape = _graph.Add("Shape", name + ".shape", [value]);
        return _graph.Add("Gather", name + ".size", [shape, _graph.Integer(1)], ("axis", 0));
    }
}
