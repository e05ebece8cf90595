using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Multiplies the elements of a row in a checkpoint's type: computed in float32 (float64 in float64), rounded to nearest even, as libtorch
/// rounds. Thread-safe.
/// </summary>
internal static class ElementScaling
{
    /// <summary>Whether elements of a type can be multiplied.</summary>
    public static bool CanHandle(ScalarType type) =>
        type is ScalarType.Float64 or ScalarType.Float32 or ScalarType.Float16 or ScalarType.BFloat16;

    /// <summary>Multiplies a row by one factor, and each element by one of its own where there are any.</summary>
    /// <param name="row">The elements' bytes.</param>
    /// <param name="type">Their type.</param>
    /// <param name="factor">The row's factor.</param>
    /// <param name="factors">A factor for each element; empty for none.</param>
    public static void Multiply(Span<byte> row, ScalarType type, float factor, ReadOnlySpan<float> factors)
    {
        switch (type)
        {
            case ScalarType.Float64:
                Multiply<double, Doubles>(row, factor, factors);
                break;
            case ScalarType.Float32:
                Multiply<float, Singles>(row, factor, factors);
                break;
            case ScalarType.Float16:
                Multiply<Half, Halves>(row, factor, factors);
                break;
            case ScalarType.BFloat16:
                Multiply<ushort, BrainHalves>(row, factor, factors);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Only numbers with a fraction are multiplied.");
        }
    }

    private interface IElement<T>
    {
        static abstract T Multiply(T element, float factor);
    }

    private readonly struct Doubles : IElement<double>
    {
        public static double Multiply(double element, float factor) => element * factor;
    }

    private readonly struct Singles : IElement<float>
    {
        public static float Multiply(float element, float factor) => element * factor;
    }

    private readonly struct Halves : IElement<Half>
    {
        public static Half Multiply(Half element, float factor) => (Half)((float)element * factor);
    }

    private readonly struct BrainHalves : IElement<ushort>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ushort Multiply(ushort element, float factor)
        {
            uint bits = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle((uint)element << 16) * factor);
            bool isNaN = (bits & 0x7FFF_FFFF) > 0x7F80_0000;
            return isNaN ? (ushort)0x7FC0 : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
        }
    }

    private static void Multiply<T, TElement>(Span<byte> row, float factor, ReadOnlySpan<float> factors)
        where T : struct
        where TElement : IElement<T>
    {
        var elements = MemoryMarshal.Cast<byte, T>(row);
        for (int i = 0; i < elements.Length; i++)
        {
            elements[i] = TElement.Multiply(elements[i], factors.IsEmpty ? factor : factor * factors[i]);
        }
    }
}
