using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>The row kernels of a GPU. Skipped without one; with one the kernels must exist.</summary>
public sealed class CudaRowKernelTests : RowKernelTests
{
    public CudaRowKernelTests() => TestBackend.SkipWithoutGpu();

    private protected override IRowKernels Kernels(ScalarType type)
    {
        using Tensor one = OnDevice(zeros([1], type));
        return CudaKernels.For(one)
            ?? throw new InvalidOperationException($"This GPU has no kernels: {CudaProgram.TryCreate(0, type).Missing}.");
    }

    protected override Tensor OnDevice(Tensor x) => x.cuda();
}

/// <summary>The decode kernels of a GPU.</summary>
public sealed class CudaDecodeKernelTests : DecodeKernelTests
{
    public CudaDecodeKernelTests() => TestBackend.SkipWithoutGpu();

    private protected override CudaDecodeKernels Kernels(ScalarType type)
    {
        using Tensor one = OnDevice(zeros([1], type));
        return CudaDecodeKernels.For(one)!;
    }

    protected override Tensor OnDevice(Tensor x) => x.cuda();
}
