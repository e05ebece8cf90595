using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Operators of libtorch without a binding in TorchSharp 0.107, called by way of TorchScript. Upstream gap: <c>torch.rms_norm</c> and
/// <c>torch._scaled_dot_product_flash_attention</c> have no managed method. When TorchSharp has them, call them and delete this file. One
/// fused operator replaces six or seven, each a pass over memory, a saved tensor and a kernel launch.
/// </summary>
internal static class TorchScriptKernels
{
    // Scripts live as long as the process. A model has one epsilon; most models have the same.
    private static readonly ConcurrentDictionary<double, jit.CompilationUnit> s_norms = [];
    private static readonly ConcurrentDictionary<(DeviceType Type, int Index), bool> s_haveFlash = [];
    private static readonly Lazy<jit.CompilationUnit> s_attention = new(() => jit.compile(
        """
        def attention(query: Tensor, key: Tensor, value: Tensor):
            return torch._scaled_dot_product_flash_attention(query, key, value, 0.0, False, False)[0]

        """));

    /// <summary>The RMS norm of <c>[..., d]</c>, differentiable in it; statistics are float32.</summary>
    public static Tensor RootMeanSquareNorm(Tensor x, Tensor weight, double epsilon) =>
        Run(s_norms.GetOrAdd(epsilon, Norm), "norm", x, weight);

    /// <summary>
    /// Whether a device has the kernel of <see cref="Attention"/>: older GPUs and libtorch for Windows have not. Tried once per device.
    /// </summary>
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
    /// Flash attention of queries to all keys, in bfloat16 on a GPU, without gradient. libtorch's own choice may be a kernel that is
    /// compiled for each number of keys, so for each decode step, which takes longer than the step.
    /// </summary>
    public static Tensor Attention(Tensor query, Tensor key, Tensor value) => Run(s_attention.Value, "attention", query, key, value);

    // Tensors only: TorchSharp may free a scalar during the call (ScalarOps). A script has its numbers in its text.
    private static Tensor Run(jit.CompilationUnit script, string function, params Tensor[] tensors) =>
        script.invoke<Tensor>(function, [.. tensors]);

    private static jit.CompilationUnit Norm(double epsilon) => jit.compile(string.Create(
        CultureInfo.InvariantCulture,
        $"""
        def norm(x: Tensor, weight: Tensor):
            return torch.rms_norm(x, weight.size(), weight, {epsilon:0.0###################e+0})

        """));
}
