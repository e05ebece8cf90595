using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>
/// Sums, maxima and exponentials of rows of float32. Vectors have 512 bits; on a processor with narrower ones the runtime splits each, in
/// the same order and without loss.
/// </summary>
internal static unsafe class SimdMath
{
    /// <summary>Numbers of a vector.</summary>
    public const int Lanes = 16;

    /// <summary>A vector of a row's numbers from one on; lanes after the end of the row have a padding value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(float* row, long first, long count, float padding = 0)
    {
        if (first + Lanes <= count)
        {
            return Vector512.Load(row + first);
        }

        var part = Vector512.Create(padding);
        if (Avx512F.IsSupported)
        {
            return Avx512F.MaskLoad(row + first, Mask(count - first), part);
        }

        Unsafe.CopyBlockUnaligned(&part, row + first, (uint)((count - first) * sizeof(float)));
        return part;
    }

    /// <summary>Writes a vector to a row from one number on, up to the end of the row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> vector, float* row, long first, long count)
    {
        if (first + Lanes <= count)
        {
            vector.Store(row + first);
        }
        else if (Avx512F.IsSupported)
        {
            Avx512F.MaskStore(row + first, Mask(count - first), vector);
        }
        else
        {
            Unsafe.CopyBlockUnaligned(row + first, &vector, (uint)((count - first) * sizeof(float)));
        }
    }

    /// <summary>The sum.</summary>
    public static float Sum(float* x, long count)
    {
        Vector512<float> first = default, second = default;
        long i = 0;
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            first += Vector512.Load(x + i);
            second += Vector512.Load(x + i + Lanes);
        }

        for (; i < count; i += Lanes)
        {
            first += Load(x, i, count);
        }

        return Vector512.Sum(first + second);
    }

    /// <summary>The sum of <c>(x - mean)^2</c>.</summary>
    public static float SquaredDistance(float* x, long count, float mean)
    {
        Vector512<float> first = default, second = default, centre = Vector512.Create(mean);
        long i = 0;
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            Vector512<float> one = Vector512.Load(x + i) - centre, other = Vector512.Load(x + i + Lanes) - centre;
            first = Vector512.FusedMultiplyAdd(one, one, first);
            second = Vector512.FusedMultiplyAdd(other, other, second);
        }

        for (; i < count; i += Lanes)
        {
            var one = Load(x, i, count, mean) - centre;
            first = Vector512.FusedMultiplyAdd(one, one, first);
        }

        return Vector512.Sum(first + second);
    }

    /// <summary>The sum of <c>x y</c>.</summary>
    public static float Dot(float* x, float* y, long count)
    {
        Vector512<float> first = default, second = default;
        long i = 0;
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            first = Vector512.FusedMultiplyAdd(Vector512.Load(x + i), Vector512.Load(y + i), first);
            second = Vector512.FusedMultiplyAdd(Vector512.Load(x + i + Lanes), Vector512.Load(y + i + Lanes), second);
        }

        for (; i < count; i += Lanes)
        {
            first = Vector512.FusedMultiplyAdd(Load(x, i, count), Load(y, i, count), first);
        }

        return Vector512.Sum(first + second);
    }

    /// <summary>The sum of <c>x y z</c>.</summary>
    public static float Dot(float* x, float* y, float* z, long count)
    {
        Vector512<float> sum = default;
        long i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            sum = Vector512.FusedMultiplyAdd(Vector512.Load(x + i) * Vector512.Load(y + i), Vector512.Load(z + i), sum);
        }

        float result = Vector512.Sum(sum);
        for (; i < count; i++)
        {
            result += x[i] * y[i] * z[i];
        }

        return result;
    }

    /// <summary>The largest number.</summary>
    public static float Max(float* x, long count)
    {
        Vector512<float> first = Vector512.Create(float.NegativeInfinity), second = first;
        long i = 0;
        for (; i + (2 * Lanes) <= count; i += 2 * Lanes)
        {
            first = Vector512.MaxNative(first, Vector512.Load(x + i));
            second = Vector512.MaxNative(second, Vector512.Load(x + i + Lanes));
        }

        for (; i < count; i += Lanes)
        {
            first = Vector512.MaxNative(first, Load(x, i, count, float.NegativeInfinity));
        }

        first = Vector512.MaxNative(first, second);
        var half = Vector256.MaxNative(first.GetLower(), first.GetUpper());
        var quarter = Vector128.MaxNative(half.GetLower(), half.GetUpper());
        return Math.Max(Math.Max(quarter[0], quarter[1]), Math.Max(quarter[2], quarter[3]));
    }

    /// <summary>Adds numbers to others, in place.</summary>
    public static void Add(float* x, float* added, long count)
    {
        long i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            (Vector512.Load(x + i) + Vector512.Load(added + i)).Store(x + i);
        }

        for (; i < count; i++)
        {
            x[i] += added[i];
        }
    }

    /// <summary>Writes <c>x + y z</c>. The result may be any of them.</summary>
    public static void MultiplyAdd(float* x, float* y, float* z, float* to, long count)
    {
        long i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            Vector512.FusedMultiplyAdd(Vector512.Load(y + i), Vector512.Load(z + i), Vector512.Load(x + i)).Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = MathF.FusedMultiplyAdd(y[i], z[i], x[i]);
        }
    }

    /// <summary>Multiplies numbers by a factor, in place.</summary>
    public static void Scale(float* x, long count, float factor)
    {
        var factors = Vector512.Create(factor);
        long i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            (Vector512.Load(x + i) * factors).Store(x + i);
        }

        for (; i < count; i++)
        {
            x[i] *= factor;
        }
    }

    /// <summary>Multiplies elementwise. The result may be either.</summary>
    public static void Multiply(float* x, float* factors, float* to, long count)
    {
        long i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            (Vector512.Load(x + i) * Vector512.Load(factors + i)).Store(to + i);
        }

        for (; i < count; i++)
        {
            to[i] = x[i] * factors[i];
        }
    }

    /// <summary>Writes <c>exp((x - shift) * scale)</c>, and returns the sum. The result may be the input.</summary>
    public static float Exp(float* x, float* to, long count, float shift, float scale)
    {
        Vector512<float> shifts = Vector512.Create(shift), scales = Vector512.Create(scale), sums = default;
        long i = 0;
        for (; i + Lanes <= count; i += Lanes)
        {
            var weights = Exp((Vector512.Load(x + i) - shifts) * scales);
            weights.Store(to + i);
            sums += weights;
        }

        if (i < count)
        {
            var weights = Exp((Load(x, i, count, float.NegativeInfinity) - shifts) * scales);
            Store(weights, to, i, count);
            sums += weights;
        }

        return Vector512.Sum(sums);
    }

    /// <summary><c>1 / (1 + exp(-x))</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Sigmoid(Vector512<float> x) => Vector512<float>.One / (Vector512<float>.One + Exp(-x));

    /// <summary>
    /// <c>exp(x)</c> within two units in the last place, in float32 throughout (.NET's <c>Vector512.Exp</c> uses float64): a power of two
    /// times a polynomial of the remainder, at most half an octave. It is 0 below 2^-125.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        // The native minimum and maximum return the second operand where one is NaN.
        var lowest = Vector512.Create(-86.64339f);
        var within = Vector512.MinNative(Vector512.Create(89f), Vector512.MaxNative(lowest, x));

        // Adding and subtracting a large number rounds to an integer, which is then in the lower bits.
        var large = Vector512.Create(12582912f);
        var shifted = Vector512.FusedMultiplyAdd(within, Vector512.Create(1.44269504f), large);
        var octaves = shifted - large;

        // ln 2 in two parts; the first has few bits, so that its multiples are exact.
        var rest = Vector512.FusedMultiplyAdd(octaves, Vector512.Create(-0.693359375f), within);
        rest = Vector512.FusedMultiplyAdd(octaves, Vector512.Create(2.12194440e-4f), rest);
        var sum = Vector512.Create(1.9875691500e-4f);
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(1.3981999507e-3f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(8.3334519073e-3f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(4.1665795894e-2f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(1.6666665459e-1f));
        sum = Vector512.FusedMultiplyAdd(sum, rest, Vector512.Create(5.0000001201e-1f));
        sum = Vector512.FusedMultiplyAdd(sum, rest * rest, rest + Vector512<float>.One);

        // One octave less, and twice the remainder: 2^128 is infinite, and the largest results are just below it.
        var power = ((shifted.AsInt32() << 23) + Vector512.Create(126 << 23)).AsSingle();
        return Vector512.AndNot((sum + sum) * power, Vector512.LessThan(x, lowest));
    }

    /// <summary>A mask of the first lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Mask(long count) => Vector512.LessThan(Vector512<int>.Indices, Vector512.Create((int)count)).AsSingle();
}
