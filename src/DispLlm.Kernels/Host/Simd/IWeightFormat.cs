namespace DispLlm.Kernels;

/// <summary>
/// How the numbers of a weight or a cache are read into vectors, two vectors' worth at a time. Which of the numbers stand in the first and which in the second is the format's affair:
/// a product does not mind, as long as its input was arranged the same way.
/// </summary>
/// <typeparam name="T">What a number is stored as.</typeparam>
/// <typeparam name="TVector">What it is read into.</typeparam>
internal unsafe interface IWeightFormat<T, TVector>
    where T : unmanaged
    where TVector : struct
{
    static abstract TVector First(T* from);

    static abstract TVector Second(T* from);

    /// <summary>Both of what is left of a row: fewer numbers than two vectors hold, and zeros behind them.</summary>
    static abstract (TVector First, TVector Second) Rest(T* from, long count);

    /// <summary>Writes what <see cref="First"/> and <see cref="Second"/> read.</summary>
    static abstract void Store(TVector first, TVector second, T* to);

    static abstract float Read(T from);

    static abstract T Rounded(float number);
}
