namespace DispLlm.Kernels;

/// <summary>Loops of <see cref="HostGemm"/> on one thread, for some number of rows.</summary>
/// <typeparam name="T">What inputs and weights are stored as.</typeparam>
internal unsafe interface IHostGemm<T>
    where T : unmanaged
{
    /// <summary>Numbers that an arranged input takes.</summary>
    static abstract long ArrangedSize(long rows, long width);

    /// <summary>Numbers of scratch that <see cref="Apply"/> takes.</summary>
    static abstract long Scratch(long rows);

    /// <summary>Rows <c>[rows, width]</c> as float32, in the order in which they are multiplied.</summary>
    static abstract void Arrange(T* x, long rows, long width, float* to);

    /// <summary>Some outputs for all rows of an arranged input: each weight is read from memory once, whatever the number of rows.</summary>
    /// <param name="x">The input, arranged (<see cref="Arrange"/>).</param>
    /// <param name="rows">How many rows there are.</param>
    /// <param name="width">Features of a row.</param>
    /// <param name="weight"><c>[count, width]</c>.</param>
    /// <param name="count">How many outputs there are.</param>
    /// <param name="result">Row by row, <paramref name="stride"/> numbers from one to the next.</param>
    /// <param name="stride">At least <paramref name="count"/>.</param>
    /// <param name="scratch">As many numbers as <see cref="Scratch"/> says.</param>
    static abstract void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride, float* scratch);
}
