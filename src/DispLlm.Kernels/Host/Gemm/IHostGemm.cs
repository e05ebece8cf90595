namespace DispLlm.Kernels;

/// <summary>A GEMM of <see cref="HostGemm"/> on one thread.</summary>
/// <typeparam name="T">The stored type of inputs and weights.</typeparam>
internal unsafe interface IHostGemm<T>
    where T : unmanaged
{
    /// <summary>The numbers of a packed input.</summary>
    static abstract long PackedSize(long rows, long width);

    /// <summary>The scratch numbers of <see cref="Apply"/>.</summary>
    static abstract long Scratch(long rows);

    /// <summary>Rows <c>[rows, width]</c> as float32, in the order in which they are multiplied.</summary>
    static abstract void Pack(T* x, long rows, long width, float* to);

    /// <summary>Some outputs for all rows of a packed input: each weight is read from memory once.</summary>
    /// <param name="x">The input, packed (<see cref="Arrange"/>).</param>
    /// <param name="rows">The number of rows.</param>
    /// <param name="width">The number of features.</param>
    /// <param name="weight"><c>[count, width]</c>.</param>
    /// <param name="count">The number of outputs.</param>
    /// <param name="result"><c>[rows, count]</c> with a stride.</param>
    /// <param name="stride">At least <paramref name="count"/>.</param>
    /// <param name="scratch"><see cref="Scratch"/> numbers.</param>
    static abstract void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride, float* scratch);
}
