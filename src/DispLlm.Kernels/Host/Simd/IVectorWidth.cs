using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Vectors of one width, for loops that fill the registers with sums and so have to know the processor's width. Other kernels
/// (<see cref="SimdMath"/>) use 512 bits everywhere, which the runtime splits.
/// </summary>
/// <typeparam name="TVector">A vector of float32.</typeparam>
internal unsafe interface IVectorWidth<TVector>
    where TVector : struct
{
    /// <summary>The number of lanes.</summary>
    static abstract int Lanes { get; }

    static abstract TVector Load(float* from);

    static abstract void Store(TVector vector, float* to);

    static abstract TVector Broadcast(float number);

    /// <summary><c>sum + left * right</c>, fused.</summary>
    static abstract TVector MultiplyAdd(TVector sum, TVector left, TVector right);

    /// <summary>The sum of all lanes of four vectors.</summary>
    static abstract float Sum(TVector s0, TVector s1, TVector s2, TVector s3);

    /// <summary>The sum of the lanes of each of four vectors, at once: for short rows that is a large part of a dot product.</summary>
    static abstract Vector128<float> SumEach(TVector s0, TVector s1, TVector s2, TVector s3);

    /// <summary>The even numbers of as many bfloat16 pairs as there are lanes: the lower halves of 32 bits.</summary>
    static abstract TVector LoadEven(ushort* from);

    /// <summary>The odd numbers: the upper halves.</summary>
    static abstract TVector LoadOdd(ushort* from);

    /// <summary>Both of <paramref name="count"/> numbers, at most twice the lanes, and zeros after them.</summary>
    static abstract (TVector Even, TVector Odd) LoadPartial(ushort* from, long count);

    /// <summary>Rounds and writes what <see cref="LoadEven"/> and <see cref="LoadOdd"/> read.</summary>
    static abstract void StoreEvenOdd(TVector even, TVector odd, ushort* to);
}
