namespace DispLlm.Kernels;

/// <summary>
/// How the numbers of a weight or a cache are read into two vectors at a time. The format decides which numbers are in which: a dot product
/// is the same as long as its input is packed in the same order.
/// </summary>
/// <typeparam name="T">The stored type of a number.</typeparam>
/// <typeparam name="TVector">The vector that it is read into.</typeparam>
internal unsafe interface IWeightFormat<T, TVector>
    where T : unmanaged
    where TVector : struct
{
    /// <summary>The first vector.</summary>
    static abstract TVector LoadFirst(T* from);

    /// <summary>The second vector.</summary>
    static abstract TVector LoadSecond(T* from);

    /// <summary>Both of the end of a row: fewer numbers than two vectors hold, and zeros after them.</summary>
    static abstract (TVector First, TVector Second) LoadPartial(T* from, long count);

    /// <summary>Rounds and writes what <see cref="LoadFirst"/> and <see cref="LoadSecond"/> read.</summary>
    static abstract void Store(TVector first, TVector second, T* to);

    /// <summary>A number as float32.</summary>
    static abstract float ToSingle(T from);

    /// <summary>A float32 rounded to the stored type.</summary>
    static abstract T FromSingle(float number);
}
