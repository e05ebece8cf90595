using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DispLlm;

/// <summary>
/// How the numbers of a weight or a cache are read into vectors, two vectors' worth at a time. Which of the numbers stand in the first and which in the second is the format's affair:
/// a product does not mind, as long as its input was arranged the same way.
/// </summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
internal unsafe interface IWeightFormat<T>
    where T : unmanaged
{
    static abstract Vector<float> First(T* from);

    static abstract Vector<float> Second(T* from);

    /// <summary>Writes what <see cref="First"/> and <see cref="Second"/> read.</summary>
    static abstract void Store(Vector<float> first, Vector<float> second, T* to);

    /// <summary>The same of twice as many numbers: <see cref="WideFirst"/> and <see cref="WideSecond"/> read 32.</summary>
    static abstract Vector512<float> WideFirst(T* from);

    static abstract Vector512<float> WideSecond(T* from);

    static abstract void StoreWide(Vector512<float> first, Vector512<float> second, T* to);

    static abstract float Read(T from);

    static abstract T Rounded(float number);
}

/// <summary>float32: one vector behind the other.</summary>
internal readonly unsafe struct Float32Format : IWeightFormat<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> First(float* from) => Vector.Load(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Second(float* from) => Vector.Load(from + Vector<float>.Count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector<float> first, Vector<float> second, float* to)
    {
        Vector.Store(first, to);
        Vector.Store(second, to + Vector<float>.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> WideFirst(float* from) => Vector512.Load(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> WideSecond(float* from) => Vector512.Load(from + HostNumbers.Lanes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWide(Vector512<float> first, Vector512<float> second, float* to)
    {
        first.Store(to);
        second.Store(to + HostNumbers.Lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(float from) => from;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Rounded(float number) => number;
}

/// <summary>
/// bfloat16: the even numbers, then the odd ones. Two neighbours are the halves of 32 bits, and each half is one instruction away from its float32.
/// </summary>
internal readonly unsafe struct BFloat16Format : IWeightFormat<ushort>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> First(ushort* from) => Vector.AsVectorSingle(Vector.Load((uint*)from) << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Second(ushort* from) => Vector.AsVectorSingle(Vector.Load((uint*)from) & new Vector<uint>(0xFFFF0000));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector<float> first, Vector<float> second, ushort* to) =>
        Vector.Store(RoundedBits(first) | (RoundedBits(second) << 16), (uint*)to);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> WideFirst(ushort* from) => (Vector512.Load((uint*)from) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> WideSecond(ushort* from) => (Vector512.Load((uint*)from) & Vector512.Create(0xFFFF0000)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWide(Vector512<float> first, Vector512<float> second, ushort* to) =>
        (HostNumbers.Rounded(first) | (HostNumbers.Rounded(second) << 16)).Store((uint*)to);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Read(ushort from) => HostNumbers.Widen(from);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Rounded(float number) => HostNumbers.Narrow(number);

    /// <summary>Numbers rounded to bfloat16, each in the lower half of its 32 bits.</summary>
    private static Vector<uint> RoundedBits(Vector<float> numbers)
    {
        var bits = Vector.AsVectorUInt32(numbers);
        var rounded = (bits + new Vector<uint>(0x7FFF) + ((bits >> 16) & Vector<uint>.One)) >> 16;
        return Vector.ConditionalSelect(Vector.AsVectorUInt32(Vector.Equals(numbers, numbers)), rounded, new Vector<uint>(HostNumbers.Narrow(float.NaN)));
    }
}
