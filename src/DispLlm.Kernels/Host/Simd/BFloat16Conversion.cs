using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>Conversion between bfloat16 and float32. A bfloat16 is the upper half of a float32.</summary>
internal static unsafe class BFloat16Conversion
{
    private const ushort NotANumber = 0x7FC0;

    /// <summary>To float32, exactly.</summary>
    public static void ToSingle(ushort* from, float* to, long count)
    {
        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            (Vector512.WidenLower(Vector256.Load(from + i).ToVector512Unsafe()) << 16).AsSingle().Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = ToSingle(from[i]);
        }
    }

    /// <summary>To float32, exactly.</summary>
    public static float ToSingle(ushort number) => BitConverter.UInt32BitsToSingle((uint)number << 16);

    /// <summary>To the nearest bfloat16, ties to even.</summary>
    public static void ToBFloat16(float* from, ushort* to, long count)
    {
        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            var rounded = Round(Vector512.Load(from + i));
            (Avx512F.IsSupported ? Avx512F.ConvertToVector256UInt16(rounded)
                : Vector256.Narrow(rounded.GetLower(), rounded.GetUpper())).Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = ToBFloat16(from[i]);
        }
    }

    /// <summary>To the nearest bfloat16, ties to even.</summary>
    public static ushort ToBFloat16(float number)
    {
        uint bits = BitConverter.SingleToUInt32Bits(number);
        return float.IsNaN(number) ? NotANumber : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>A vector of the first numbers of a row, and zeros after them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ushort> Load(ushort* row, long count)
    {
        var part = Vector512<ushort>.Zero;
        if (Avx512BW.IsSupported)
        {
            return Avx512BW.MaskLoad(row, Vector512.LessThan(Vector512<short>.Indices, Vector512.Create((short)count)).AsUInt16(), part);
        }

        Unsafe.CopyBlockUnaligned(&part, row, (uint)(count * sizeof(ushort)));
        return part;
    }

    /// <summary>Numbers rounded to bfloat16, each in the lower half of 32 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Round(Vector512<float> numbers)
    {
        var bits = numbers.AsUInt32();
        var rounded = (bits + Vector512.Create(0x7FFFu) + ((bits >> 16) & Vector512<uint>.One)) >> 16;
        return Vector512.ConditionalSelect(Vector512.Equals(numbers, numbers).AsUInt32(), rounded, Vector512.Create((uint)NotANumber));
    }
}
