using System.Buffers.Binary;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>How numbers become the bytes of a type: those that llama.cpp's own quantizer writes.</summary>
internal static class GgufEncoding
{
    /// <summary>Numbers of a block of <see cref="GgufType.Q8_0"/> or <see cref="GgufType.Q4_0"/>.</summary>
    public const int BlockSize = 32;

    /// <summary>The number of a type in a file's list of tensors (<c>ggml_type</c>).</summary>
    public static uint TypeId(GgufType type) => type switch
    {
        GgufType.F32 => 0,
        GgufType.F16 => 1,
        GgufType.Q4_0 => 2,
        GgufType.Q8_0 => 8,
        GgufType.BF16 => 30,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Unknown type."),
    };

    /// <summary>The number of a type in <c>general.file_type</c> (<c>llama_ftype</c>).</summary>
    public static uint FileTypeId(GgufType type) => type switch
    {
        GgufType.F32 => 0,
        GgufType.F16 => 1,
        GgufType.Q4_0 => 2,
        GgufType.Q8_0 => 7,
        GgufType.BF16 => 32,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Unknown type."),
    };

    /// <summary>Whether rows are written in blocks, and must be whole ones.</summary>
    public static bool IsBlocked(GgufType type) => type is GgufType.Q8_0 or GgufType.Q4_0;

    /// <summary>Bytes of a number of values.</summary>
    public static long Bytes(GgufType type, long count) => type switch
    {
        GgufType.F32 => count * 4,
        GgufType.F16 or GgufType.BF16 => count * 2,
        _ => count / BlockSize * BlockBytes(type),
    };

    /// <summary>Encodes some of a tensor's numbers, whole blocks of them, and receives the bytes.</summary>
    /// <param name="values">Contiguous float32 numbers.</param>
    /// <param name="type">The type.</param>
    /// <param name="append">Receives the bytes.</param>
    /// <returns>Whether all of them are in the type's range.</returns>
    public static bool Encode(Tensor values, GgufType type, Action<Tensor> append)
    {
        using var scope = NewDisposeScope();
        Tensor encoded = type switch
        {
            GgufType.F32 => values,
            GgufType.F16 => values.to(ScalarType.Float16),
            GgufType.BF16 => values.to(ScalarType.BFloat16),
            _ => EncodeBlocks(values, type),
        };
        append(encoded);
        return IsBlocked(type) || encoded.isfinite().all().ToBoolean();
    }

    private static int BlockBytes(GgufType type) => type == GgufType.Q8_0 ? 2 + BlockSize : 2 + (BlockSize / 2);

    private static Tensor EncodeBlocks(Tensor values, GgufType type)
    {
        Tensor encoded = empty([Bytes(type, values.numel())], ScalarType.Byte);
        ReadOnlySpan<float> numbers = MemoryMarshal.Cast<byte, float>(values.bytes);
        Span<byte> bytes = encoded.bytes;
        int step = BlockBytes(type);
        for (int block = 0; block < numbers.Length / BlockSize; block++)
        {
            var from = numbers.Slice(block * BlockSize, BlockSize);
            var to = bytes.Slice(block * step, step);
            if (type == GgufType.Q8_0)
            {
                EncodeQ8(from, to);
            }
            else
            {
                EncodeQ4(from, to);
            }
        }

        return encoded;
    }

    private static void EncodeQ8(ReadOnlySpan<float> from, Span<byte> to)
    {
        float largest = 0;
        foreach (float number in from)
        {
            largest = Math.Max(largest, Math.Abs(number));
        }

        float inverse = WriteFactor(largest / 127, to);
        for (int i = 0; i < BlockSize; i++)
        {
            to[2 + i] = unchecked((byte)(sbyte)MathF.Round(from[i] * inverse, MidpointRounding.AwayFromZero));
        }
    }

    private static void EncodeQ4(ReadOnlySpan<float> from, Span<byte> to)
    {
        // The number that is farthest from zero becomes -8, whatever its sign.
        float farthest = from[0];
        foreach (float number in from)
        {
            farthest = Math.Abs(number) > Math.Abs(farthest) ? number : farthest;
        }

        float inverse = WriteFactor(farthest / -8, to);
        int Level(float number) => Math.Min(15, (int)(number * inverse + 8.5f));
        for (int i = 0; i < BlockSize / 2; i++)
        {
            to[2 + i] = (byte)(Level(from[i]) | (Level(from[i + BlockSize / 2]) << 4));
        }
    }

    /// <summary>Writes a block's factor in float16 and returns the inverse of the whole one.</summary>
    private static float WriteFactor(float factor, Span<byte> to)
    {
        BinaryPrimitives.WriteHalfLittleEndian(to, (Half)factor);
        return factor == 0 ? 0 : 1 / factor;
    }
}
