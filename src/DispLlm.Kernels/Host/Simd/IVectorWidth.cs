using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Vectors of one width, for loops that want as many sums in registers as there are: those have to know the processor's own width, where other vector code
/// (<see cref="SimdMath"/>) is written for 512 bits and falls apart into what there is.
/// </summary>
/// <typeparam name="TVector">A vector of float32.</typeparam>
internal unsafe interface IVectorWidth<TVector>
    where TVector : struct
{
    /// <summary>Numbers of a vector.</summary>
    static abstract int Lanes { get; }

    static abstract TVector Load(float* from);

    static abstract void Store(TVector vector, float* to);

    static abstract TVector Filled(float number);

    /// <summary>The product of two vectors added to a third.</summary>
    static abstract TVector PlusProduct(TVector sum, TVector left, TVector right);

    /// <summary>What all lanes of all four vectors come to.</summary>
    static abstract float Sum(TVector s0, TVector s1, TVector s2, TVector s3);

    /// <summary>What the lanes of each of four vectors come to. Short products end so often that taking them one by one would cost a good part of the product.</summary>
    static abstract Vector128<float> Sums(TVector s0, TVector s1, TVector s2, TVector s3);

    /// <summary>The even of as many pairs of bfloat16 as there are lanes: the lower halves of 32 bits.</summary>
    static abstract TVector Evens(ushort* from);

    /// <summary>The odd ones: the upper halves.</summary>
    static abstract TVector Odds(ushort* from);

    /// <summary>Pairs of which there are <paramref name="count"/> numbers, at most twice the lanes; zeros behind them.</summary>
    static abstract (TVector Evens, TVector Odds) Pairs(ushort* from, long count);

    /// <summary>Writes what <see cref="Evens"/> and <see cref="Odds"/> read, rounded.</summary>
    static abstract void StorePairs(TVector evens, TVector odds, ushort* to);
}
