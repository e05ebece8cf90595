using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Kernels of our own on a GPU. Skipped where there is none; where there is, they have to be there.</summary>
public sealed class CudaRowKernelTests : RowKernelTests
{
    public CudaRowKernelTests() => TestBackend.SkipWithoutGpu();

    private protected override IRowKernels Kernels(ScalarType type)
    {
        using Tensor one = There(zeros([1], type));
        return CudaKernels.For(one) ?? throw new InvalidOperationException($"This GPU has no kernels: {CudaProgram.TryCreate(0, type).Missing}.");
    }

    protected override Tensor There(Tensor x) => x.cuda();
}

/// <summary>Kernels of our own for few tokens on a GPU.</summary>
public sealed class CudaTokenTests : TokenKernelTests
{
    public CudaTokenTests() => TestBackend.SkipWithoutGpu();

    private protected override CudaDecodeKernels Kernels(ScalarType type)
    {
        using Tensor one = There(zeros([1], type));
        return CudaDecodeKernels.For(one)!;
    }

    protected override Tensor There(Tensor x) => x.cuda();
}
