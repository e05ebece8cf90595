using System.Runtime.CompilerServices;

namespace DispLlm.Kernels;

/// <summary>float32: one vector behind the other.</summary>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is done.</typeparam>
internal readonly unsafe struct Float32Format<TVector, TWidth> : IWeightFormat<float, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector First(float* from) => TWidth.Load(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Second(float* from) => TWidth.Load(from + TWidth.Lanes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (TVector First, TVector Second) Rest(float* from, long count) =>
        (Part(from, count), count > TWidth.Lanes ? Part(from + TWidth.Lanes, count - TWidth.Lanes) : default);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(TVector first, TVector second, float* to)
    {
        TWidth.Store(first, to);
        TWidth.Store(second, to + TWidth.Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(float from) => from;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Rounded(float number) => number;

    /// <summary>One vector of what is left. Only ends of rows are read so: they go by memory, whatever the width.</summary>
    private static TVector Part(float* from, long count)
    {
        var part = SimdMath.Load(from, 0, count);
        return TWidth.Load((float*)&part);
    }
}

/// <summary>
/// bfloat16: the even numbers, then the odd ones. Two neighbours are the halves of 32 bits, and each half is one instruction away from its float32.
/// </summary>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is done.</typeparam>
internal readonly unsafe struct BFloat16Format<TVector, TWidth> : IWeightFormat<ushort, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector First(ushort* from) => TWidth.Evens(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Second(ushort* from) => TWidth.Odds(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (TVector First, TVector Second) Rest(ushort* from, long count) => TWidth.Pairs(from, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(TVector first, TVector second, ushort* to) => TWidth.StorePairs(first, second, to);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(ushort from) => BFloat16Conversion.Widen(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Rounded(float number) => BFloat16Conversion.Narrow(number);
}
