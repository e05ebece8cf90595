using System.Globalization;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Onnx;
using static TorchSharp.torch;
using AttributeType = Onnx.AttributeProto.Types.AttributeType;
using DataType = Onnx.TensorProto.Types.DataType;

namespace DispLlm.Export;

/// <summary>An ONNX graph while it is built: values are known by their names. Not thread-safe.</summary>
/// <param name="type">The type that the graph computes in: float32 or float16.</param>
internal sealed class OnnxGraph(ScalarType type)
{
    // The first version of the operators with Gelu, and the IR that came before the next.
    private const int OperatorSet = 20;
    private const int IrVersion = 10;
    private const string Contributed = "com.microsoft";

    private static readonly HashSet<string> s_contributed =
        ["FusedMatMul", "GatherBlockQuantized", "GroupQueryAttention", "MatMulNBits", "RotaryEmbedding"];

    private readonly GraphProto _graph = new() { Name = "decoder" };
    private readonly HashSet<string> _constants = new(StringComparer.Ordinal);

    /// <summary>The type that the graph computes in.</summary>
    public ScalarType Type => type;

    /// <summary>Declares an input.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="elementType">Type of its elements.</param>
    /// <param name="shape">Sizes, and names of sizes that are known when the graph runs.</param>
    /// <returns>The name.</returns>
    public string Input(string name, DataType elementType, params ReadOnlySpan<object> shape)
    {
        _graph.Input.Add(Value(name, elementType, shape));
        return name;
    }

    /// <summary>Declares an output; see <see cref="Input"/>.</summary>
    public string Output(string name, DataType elementType, params ReadOnlySpan<object> shape)
    {
        _graph.Output.Add(Value(name, elementType, shape));
        return name;
    }

    /// <summary>Adds an operator with one output.</summary>
    /// <param name="operation">The operator.</param>
    /// <param name="name">Name of the output.</param>
    /// <param name="inputs">Names of its inputs; empty for one that is left out.</param>
    /// <param name="attributes">Its attributes: whole numbers, numbers or texts.</param>
    /// <returns>The name of the output.</returns>
    public string Add(
        string operation, string name, IReadOnlyList<string> inputs, params ReadOnlySpan<(string Key, object Value)> attributes)
    {
        Add(operation, [name], inputs, attributes);
        return name;
    }

    /// <summary>Adds an operator with several outputs.</summary>
    public void Add(
        string operation, IReadOnlyList<string> outputs, IReadOnlyList<string> inputs,
        params ReadOnlySpan<(string Key, object Value)> attributes)
    {
        var node = new NodeProto
        {
            Name = outputs[0] + "/" + operation,
            OpType = operation,
            Domain = s_contributed.Contains(operation) ? Contributed : string.Empty,
        };
        node.Input.AddRange(inputs);
        node.Output.AddRange(outputs);
        foreach (var (key, value) in attributes)
        {
            node.Attribute.Add(value switch
            {
                int whole => new AttributeProto { Name = key, Type = AttributeType.Int, I = whole },
                double number => new AttributeProto { Name = key, Type = AttributeType.Float, F = (float)number },
                string text => new AttributeProto { Name = key, Type = AttributeType.String, S = ByteString.CopyFromUtf8(text) },
                _ => throw new ArgumentException($"Attribute {key} is a {value.GetType()}.", nameof(attributes)),
            });
        }

        _graph.Node.Add(node);
    }

    /// <summary>Adds a tensor whose numbers are in the data file.</summary>
    /// <returns>Its name.</returns>
    public string Add(TensorProto initializer)
    {
        _graph.Initializer.Add(initializer);
        return initializer.Name;
    }

    /// <summary>A constant whole number, without dimensions.</summary>
    public string Integer(long value) => Constant(
        string.Create(CultureInfo.InvariantCulture, $"integer.{value}"), DataType.Int64, [], MemoryMarshal.AsBytes<long>([value]));

    /// <summary>A constant list of whole numbers.</summary>
    public string Integers(params long[] values) => Constant(
        "integers." + string.Join('.', values.Select(value => value.ToString(CultureInfo.InvariantCulture))),
        DataType.Int64, [values.Length], MemoryMarshal.AsBytes<long>(values));

    /// <summary>A constant number in the type of the graph, without dimensions.</summary>
    public string Number(double value)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"number.{value:R}");
        return type == ScalarType.Float16
            ? Constant(name, DataType.Float16, [], MemoryMarshal.AsBytes<Half>([(Half)value]))
            : Constant(name, DataType.Float, [], MemoryMarshal.AsBytes<float>([(float)value]));
    }

    /// <summary>The finished model.</summary>
    /// <param name="version">Version of the program that wrote it.</param>
    public ModelProto ToModel(string version)
    {
        var model = new ModelProto { IrVersion = IrVersion, ProducerName = "DispLlm", ProducerVersion = version, Graph = _graph };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = string.Empty, Version = OperatorSet });
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = Contributed, Version = 1 });
        return model;
    }

    private string Constant(string name, DataType elementType, long[] shape, ReadOnlySpan<byte> bytes)
    {
        // Small ones are in the graph itself, where shape inference reads them.
        if (_constants.Add(name))
        {
            var proto = new TensorProto { Name = name, DataType = (int)elementType, RawData = ByteString.CopyFrom(bytes) };
            proto.Dims.AddRange(shape);
            _graph.Initializer.Add(proto);
        }

        return name;
    }

    private static ValueInfoProto Value(string name, DataType elementType, ReadOnlySpan<object> shape)
    {
        var dimensions = new TensorShapeProto();
        foreach (object size in shape)
        {
            dimensions.Dim.Add(size is string variable
                ? new TensorShapeProto.Types.Dimension { DimParam = variable }
                : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(size, CultureInfo.InvariantCulture) });
        }

        return new ValueInfoProto
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)elementType, Shape = dimensions } },
        };
    }
}
