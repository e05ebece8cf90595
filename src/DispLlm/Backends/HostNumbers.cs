using System.Numerics;

namespace DispLlm;

/// <summary>Rows of numbers in the processor's vectors: bfloat16 to float32 and back, sums, exponentials.</summary>
internal static unsafe class HostNumbers
{
    private const ushort NotANumber = 0x7FC0;

    /// <summary>bfloat16 is the upper half of float32.</summary>
    public static void Widen(ushort* from, float* to, long count)
    {
        int step = Vector<ushort>.Count, half = Vector<float>.Count;
        long i = 0;
        for (; i + step <= count; i += step)
        {
            Vector.Widen(Vector.Load(from + i), out var first, out var second);
            Vector.Store(Vector.AsVectorSingle(first << 16), to + i);
            Vector.Store(Vector.AsVectorSingle(second << 16), to + i + half);
        }

        for (; i < count; i++)
        {
            to[i] = Widen(from[i]);
        }
    }

    public static float Widen(ushort number) => BitConverter.UInt32BitsToSingle((uint)number << 16);

    /// <summary>To the nearest bfloat16, to the even one of two.</summary>
    public static void Narrow(float* from, ushort* to, long count)
    {
        int step = Vector<ushort>.Count, half = Vector<float>.Count;
        long i = 0;
        for (; i + step <= count; i += step)
        {
            Vector.Store(Vector.Narrow(Rounded(Vector.Load(from + i)), Rounded(Vector.Load(from + i + half))), to + i);
        }

        for (; i < count; i++)
        {
            to[i] = Narrow(from[i]);
        }
    }

    public static ushort Narrow(float number)
    {
        uint bits = BitConverter.SingleToUInt32Bits(number);
        return float.IsNaN(number) ? NotANumber : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>Numbers rounded to bfloat16, each in the lower half of its 32 bits.</summary>
    public static Vector<uint> Rounded(Vector<float> numbers)
    {
        var bits = Vector.AsVectorUInt32(numbers);
        var rounded = (bits + new Vector<uint>(0x7FFF) + ((bits >> 16) & Vector<uint>.One)) >> 16;
        return Vector.ConditionalSelect(Vector.AsVectorUInt32(Vector.Equals(numbers, numbers)), rounded, new Vector<uint>(NotANumber));
    }

    public static float Sum(float* x, long count)
    {
        Vector<float> sum = default;
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            sum += Vector.Load(x + i);
        }

        float result = Vector.Sum(sum);
        for (; i < count; i++)
        {
            result += x[i];
        }

        return result;
    }

    public static float SquaredDistance(float* x, long count, float mean)
    {
        Vector<float> sum = default, centre = new(mean);
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            var distance = Vector.Load(x + i) - centre;
            sum = Vector.FusedMultiplyAdd(distance, distance, sum);
        }

        float result = Vector.Sum(sum);
        for (; i < count; i++)
        {
            result += (x[i] - mean) * (x[i] - mean);
        }

        return result;
    }

    public static float Highest(float* x, long count)
    {
        float top = float.NegativeInfinity;
        var tops = new Vector<float>(top);
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            tops = Vector.Max(tops, Vector.Load(x + i));
        }

        for (int lane = 0; lane < Vector<float>.Count; lane++)
        {
            top = Math.Max(top, tops[lane]);
        }

        for (; i < count; i++)
        {
            top = Math.Max(top, x[i]);
        }

        return top;
    }

    /// <summary>Adds numbers to others, in place.</summary>
    public static void Add(float* x, float* added, long count)
    {
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            Vector.Store(Vector.Load(x + i) + Vector.Load(added + i), x + i);
        }

        for (; i < count; i++)
        {
            x[i] += added[i];
        }
    }

    /// <summary>Multiplies numbers in place.</summary>
    public static void Scale(float* x, long count, float factor)
    {
        var factors = new Vector<float>(factor);
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            Vector.Store(Vector.Load(x + i) * factors, x + i);
        }

        for (; i < count; i++)
        {
            x[i] *= factor;
        }
    }

    /// <summary>Writes products of numbers. They may be written over either.</summary>
    public static void Multiply(float* x, float* factors, float* to, long count)
    {
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            Vector.Store(Vector.Load(x + i) * Vector.Load(factors + i), to + i);
        }

        for (; i < count; i++)
        {
            to[i] = x[i] * factors[i];
        }
    }

    /// <summary>Writes <c>exp((x - shift) * scale)</c>, and returns the sum. It may be written over what is read.</summary>
    public static float Exponentials(float* x, float* to, long count, float shift, float scale)
    {
        Vector<float> shifts = new(shift), scales = new(scale), sums = default;
        long i = 0;
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
        {
            var weights = Exp((Vector.Load(x + i) - shifts) * scales);
            Vector.Store(weights, to + i);
            sums += weights;
        }

        float sum = Vector.Sum(sums);
        for (; i < count; i++)
        {
            to[i] = MathF.Exp((x[i] - shift) * scale);
            sum += to[i];
        }

        return sum;
    }

    /// <summary><c>1 / (1 + exp(-x))</c>.</summary>
    public static Vector<float> Sigmoid(Vector<float> x) => Vector<float>.One / (Vector<float>.One + Exp(-x));

    /// <summary>
    /// <c>exp(x)</c> within two units of the last place, in float32 throughout (the framework's <c>Vector.Exp</c> goes by float64): the power of two nearest to it, times a polynomial over the
    /// rest of at most half an octave. Below the smallest normal number it is 0.
    /// </summary>
    public static Vector<float> Exp(Vector<float> x)
    {
        const float Lowest = -87.33654f, Highest = 88.72283f;
        var within = Vector.Min(Vector.Max(x, new Vector<float>(Lowest)), new Vector<float>(Highest));

        // Adding and taking away a large number rounds to a whole one, which then stands in the lower bits.
        var large = new Vector<float>(12582912f);
        var shifted = Vector.FusedMultiplyAdd(within, new Vector<float>(1.44269504f), large);
        var octaves = shifted - large;

        // ln 2 in two parts, of which the first has few bits: its multiples are exact.
        var rest = Vector.FusedMultiplyAdd(octaves, new Vector<float>(-0.693359375f), within);
        rest = Vector.FusedMultiplyAdd(octaves, new Vector<float>(2.12194440e-4f), rest);
        var sum = new Vector<float>(1.9875691500e-4f);
        sum = Vector.FusedMultiplyAdd(sum, rest, new Vector<float>(1.3981999507e-3f));
        sum = Vector.FusedMultiplyAdd(sum, rest, new Vector<float>(8.3334519073e-3f));
        sum = Vector.FusedMultiplyAdd(sum, rest, new Vector<float>(4.1665795894e-2f));
        sum = Vector.FusedMultiplyAdd(sum, rest, new Vector<float>(1.6666665459e-1f));
        sum = Vector.FusedMultiplyAdd(sum, rest, new Vector<float>(5.0000001201e-1f));
        sum = Vector.FusedMultiplyAdd(sum, rest * rest, rest + Vector<float>.One);

        // Half of the octaves at a time: 2^128 is no number, and the highest results lie just below it.
        var whole = Vector.AsVectorInt32(shifted) - Vector.AsVectorInt32(large);
        var half = whole >> 1;
        var result = sum * PowerOfTwo(half) * PowerOfTwo(whole - half);
        result = Vector.ConditionalSelect(Vector.LessThan(x, new Vector<float>(Lowest)), Vector<float>.Zero, result);
        result = Vector.ConditionalSelect(Vector.GreaterThan(x, new Vector<float>(Highest)), new Vector<float>(float.PositiveInfinity), result);
        return Vector.ConditionalSelect(Vector.Equals(x, x), result, x);
    }

    private static Vector<float> PowerOfTwo(Vector<int> exponents) => Vector.AsVectorSingle((exponents + new Vector<int>(127)) << 23);
}
