using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The dispose scope of a custom function's backward. Upstream fault (TorchSharp 0.107): the wrappers of a function's incoming and returned
/// gradients live until the finalizer runs, so the gradients of every block would stay to the end of the backward pass. Both have to
/// outlive the function, but not the next one's begin, where they are disposed. When TorchSharp disposes them, use
/// <see cref="torch.NewDisposeScope"/> and delete this type.
/// </summary>
internal readonly struct AutogradBackwardScope : IDisposable
{
    // Per thread: libtorch runs the backward functions of a device on one thread, one after the other.
    [ThreadStatic]
    private static List<Tensor?>? s_passed;

    private readonly List<Tensor?> _passed;
    private readonly DisposeScope _inner;

    /// <summary>Begins a backward function.</summary>
    /// <param name="given">The incoming gradients; null where there is none.</param>
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

        // A backward that runs others inside, as activation checkpointing does, restores its own tensors.
        if (s_passed != _passed)
        {
            Release();
            s_passed = _passed;
        }
    }

    private static void Release() => s_passed?.ForEach(tensor => tensor?.Dispose());
}
