using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Operators of the framework that TorchSharp has no name for, called through the framework's own script language. One operator stands for six or seven, of which each would be a pass over
/// memory, may keep a tensor for its way back, and on an accelerator is a call that takes longer than the device needs for it.
/// </summary>
internal static class TorchScriptKernels
{
    // Compiled code belongs to the process. Models have one epsilon each, most the same.
    private static readonly ConcurrentDictionary<double, jit.CompilationUnit> s_norms = [];
    private static readonly ConcurrentDictionary<(DeviceType Type, int Index), bool> s_haveFlash = [];
    private static readonly Lazy<jit.CompilationUnit> s_attention = new(() => jit.compile(
        """
        def attention(query: Tensor, key: Tensor, value: Tensor):
            return torch._scaled_dot_product_flash_attention(query, key, value, 0.0, False, False)[0]

        """));

    private static readonly Lazy<jit.CompilationUnit> s_gelu = new(() => jit.compile(
        """
        def gelu(x: Tensor):
            return torch.gelu(x, approximate="tanh")

        """));

    /// <summary><c>0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))</c>, differentiable.</summary>
    public static Tensor GeluTanh(Tensor x) => Run(s_gelu.Value, "gelu", x);

    /// <summary>The root-mean-square norm of <c>[..., d]</c>, differentiable in it; statistics in float32.</summary>
    public static Tensor RootMeanSquareNorm(Tensor x, Tensor weight, double epsilon) => Run(s_norms.GetOrAdd(epsilon, Norm), "norm", x, weight);

    /// <summary>Whether a device has the kernel of <see cref="Attention"/>: older GPUs have not, nor has the framework as it is built for Windows. Tried once.</summary>
    public static bool IsFlashAttentionAvailable(Device device) => s_haveFlash.GetOrAdd((device.type, device.index), _ =>
    {
        using var scope = NewDisposeScope();
        try
        {
            Tensor one = zeros([1, 1, 1, 8], ScalarType.BFloat16, device);
            Attention(one, one, one);
            return true;
        }
        catch (ExternalException)
        {
            return false;
        }
    });

    /// <summary>
    /// Attention of queries to all keys, in bfloat16 on a GPU, without gradient. The framework's own choice may be a kernel that is built anew for every number of keys, and takes longer to
    /// build than a token to compute: while tokens are written one by one that is every time.
    /// </summary>
    public static Tensor Attention(Tensor query, Tensor key, Tensor value) => Run(s_attention.Value, "attention", query, key, value);

    // Tensors only: a number would be wrapped in an object that nobody holds. A script has its numbers in its text.
    private static Tensor Run(jit.CompilationUnit script, string function, params Tensor[] tensors) => script.invoke<Tensor>(function, [.. tensors]);

    private static jit.CompilationUnit Norm(double epsilon) => jit.compile(string.Create(
        CultureInfo.InvariantCulture,
        $"""
        def norm(x: Tensor, weight: Tensor):
            return torch.rms_norm(x, weight.size(), weight, {epsilon:0.0###################e+0})

        """));
}
