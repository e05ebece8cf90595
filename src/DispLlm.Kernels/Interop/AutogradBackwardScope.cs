using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The tensors of one function's way back. Inner ones go at its end. What it was given and what it returns have to outlive it, but not by much: the framework holds them itself
/// once it has them, and TorchSharp's wrappers would hold every block's gradients to the end of the whole way back. They go when the next function's way back begins.
/// </summary>
internal readonly struct AutogradBackwardScope : IDisposable
{
    // Of a thread: the framework goes back through a device's functions on one, one after the other.
    [ThreadStatic]
    private static List<Tensor?>? s_passed;

    private readonly List<Tensor?> _passed;
    private readonly DisposeScope _inner;

    /// <summary>Begins a way back.</summary>
    /// <param name="given">The gradients by what the function returned; null where there is none.</param>
    public AutogradBackwardScope(params ReadOnlySpan<Tensor?> given)
    {
        Release();
        s_passed = _passed = [.. given];
        _inner = NewDisposeScope();
    }

    /// <summary>Keeps a gradient beyond the end of this scope.</summary>
    public Tensor Return(Tensor gradient)
    {
        _passed.Add(gradient);
        return gradient.MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        _inner.Dispose();

        // A function that goes back through others in its own way back, as a recomputed block does, leaves what is its own, not what is theirs.
        if (s_passed != _passed)
        {
            Release();
            s_passed = _passed;
        }
    }

    private static void Release() => s_passed?.ForEach(tensor => tensor?.Dispose());
}
