using System.Runtime.CompilerServices;

namespace DispLlm.Kernels;

/// <summary>float32: one vector after the other.</summary>
/// <typeparam name="TVector">The vector that it is read into.</typeparam>
/// <typeparam name="TWidth">The width of the vector.</typeparam>
internal readonly unsafe struct Float32Format<TVector, TWidth> : IWeightFormat<float, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector LoadFirst(float* from) => TWidth.Load(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector LoadSecond(float* from) => TWidth.Load(from + TWidth.Lanes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (TVector First, TVector Second) LoadPartial(float* from, long count) =>
        (Part(from, count), count > TWidth.Lanes ? Part(from + TWidth.Lanes, count - TWidth.Lanes) : default);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(TVector first, TVector second, float* to)
    {
        TWidth.Store(first, to);
        TWidth.Store(second, to + TWidth.Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToSingle(float from) => from;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float FromSingle(float number) => number;

    /// <summary>One vector of the end of a row, by way of memory, so that it serves every width.</summary>
    private static TVector Part(float* from, long count)
    {
        var part = SimdMath.Load(from, 0, count);
        return TWidth.Load((float*)&part);
    }
}

/// <summary>
/// bfloat16: the even numbers, then the odd ones. Two neighbours are the halves of 32 bits; each takes one instruction to float32.
/// </summary>
/// <typeparam name="TVector">The vector that it is read into.</typeparam>
/// <typeparam name="TWidth">The width of the vector.</typeparam>
internal readonly unsafe struct BFloat16Format<TVector, TWidth> : IWeightFormat<ushort, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector LoadFirst(ushort* from) => TWidth.LoadEven(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector LoadSecond(ushort* from) => TWidth.LoadOdd(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (TVector First, TVector Second) LoadPartial(ushort* from, long count) => TWidth.LoadPartial(from, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(TVector first, TVector second, ushort* to) => TWidth.StoreEvenOdd(first, second, to);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToSingle(ushort from) => BFloat16Conversion.ToSingle(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort FromSingle(float number) => BFloat16Conversion.ToBFloat16(number);
}
