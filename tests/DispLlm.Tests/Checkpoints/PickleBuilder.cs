using System.Buffers.Binary;
using System.Text;

namespace DispLlm.Tests.Checkpoints;

/// <summary>Writes pickles opcode by opcode, good ones and others.</summary>
internal sealed class PickleBuilder
{
    private readonly List<byte> _bytes = [];

    /// <summary>What every pickle of PyTorch begins with, and a dictionary open for its items.</summary>
    public static PickleBuilder Dictionary => new PickleBuilder().Raw(0x80, 2, (byte)'}', (byte)'(');

    /// <summary>Ends <see cref="Dictionary"/>.</summary>
    public byte[] End() => Op("u.").ToArray();

    public byte[] ToArray() => [.. _bytes];

    public PickleBuilder Raw(params ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public PickleBuilder Op(string opcodes) => Raw(Encoding.Latin1.GetBytes(opcodes));

    public PickleBuilder Text(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        return Op("X").Raw(length).Raw(utf8);
    }

    /// <summary>A number as Python writes it: in 1, 2 or 4 bytes, or as a long of 8.</summary>
    public PickleBuilder Number(long number)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        return number switch
        {
            >= 0 and < 1 << 8 => Op("K").Raw(bytes[..1]),
            >= 0 and < 1 << 16 => Op("M").Raw(bytes[..2]),
            >= int.MinValue and <= int.MaxValue => Op("J").Raw(bytes[..4]),
            _ => Raw(0x8a, 8).Raw(bytes),
        };
    }

    public PickleBuilder Global(string module, string name) => Op($"c{module}\n{name}\n");

    public PickleBuilder Tuple(params long[] numbers)
    {
        Op("(");
        foreach (long number in numbers)
        {
            Number(number);
        }

        return Op("t");
    }

    public PickleBuilder OrderedDict() => Global("collections", "OrderedDict").Op(")R");

    public PickleBuilder Storage(string type, string key, long elements) =>
        Op("(").Text("storage").Global("torch", type).Text(key).Text("cpu").Number(elements).Op("tQ");

    /// <summary>A tensor in a storage of its own, row by row.</summary>
    public PickleBuilder Tensor(string key, string type, params long[] shape)
    {
        long[] strides = new long[shape.Length];
        long elements = 1;
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            strides[i] = elements;
            elements *= shape[i];
        }

        return View(key, type, elements, 0, shape, strides);
    }

    public PickleBuilder View(string key, string type, long elements, long offset, long[] shape, long[] strides) =>
        Global("torch._utils", "_rebuild_tensor_v2").Op("(").Storage(type, key, elements).Number(offset).Tuple(shape).Tuple(strides)
            .Raw(0x89).OrderedDict().Op("tR");
}
