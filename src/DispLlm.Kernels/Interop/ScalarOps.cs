using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Arithmetic of tensors and numbers. Upstream fault (TorchSharp 0.107): an implicit <see cref="Scalar"/> is not kept alive during the
/// native call, so a garbage collection on another thread may free it before the number is read; the call then fails or computes with
/// garbage. So it is with <c>x * 0.5</c>, and with <c>x + y</c>, which passes a factor of 1. Here every scalar lives until its call is
/// done, and a test finds calls that bypass these. When TorchSharp keeps its scalars alive, use its operators and delete this file and its
/// test.
/// </summary>
internal static class ScalarOps
{
    public static Tensor Add(this Tensor x, Tensor y)
    {
        using Scalar one = 1;
        return x.add(y, one);
    }

    public static Tensor AddScalar(this Tensor x, double number)
    {
        using Scalar held = number, one = 1;
        return x.add(held, one);
    }

    public static Tensor AddScalar(this Tensor x, long number)
    {
        using Scalar held = number, one = 1;
        return x.add(held, one);
    }

    /// <summary><c>x + factor y</c>, in place.</summary>
    public static Tensor AddInPlace(this Tensor x, Tensor y, double factor = 1)
    {
        using Scalar held = factor;
        return x.add_(y, held);
    }

    /// <summary><c>x + a b</c>.</summary>
    public static Tensor AddCMul(this Tensor x, Tensor a, Tensor b)
    {
        using Scalar one = 1;
        return x.addcmul(a, b, one);
    }

    /// <summary><c>x + factor a b</c>, in place.</summary>
    public static Tensor AddCMulInPlace(this Tensor x, Tensor a, Tensor b, double factor)
    {
        using Scalar held = factor;
        return x.addcmul_(a, b, held);
    }

    /// <summary><c>x + factor a / b</c>, in place.</summary>
    public static Tensor AddCDivInPlace(this Tensor x, Tensor a, Tensor b, double factor)
    {
        using Scalar held = factor;
        return x.addcdiv_(a, b, held);
    }

    public static Tensor MulScalar(this Tensor x, double number)
    {
        using Scalar held = number;
        return x.mul(held);
    }

    public static Tensor MulScalarInPlace(this Tensor x, double number)
    {
        using Scalar held = number;
        return x.mul_(held);
    }

    public static Tensor DivScalar(this Tensor x, double number)
    {
        using Scalar held = number;
        return x.div(held);
    }

    public static Tensor DivScalarInPlace(this Tensor x, double number)
    {
        using Scalar held = number;
        return x.div_(held);
    }

    /// <summary><c>1 - x</c>.</summary>
    public static Tensor OneMinus(this Tensor x) => x.neg().AddScalar(1L);

    public static Tensor PowScalar(this Tensor x, double exponent)
    {
        using Scalar held = exponent;
        return x.pow(held);
    }

    public static Tensor ClampMin(this Tensor x, double least)
    {
        using Scalar held = least;
        return x.clamp_min(held);
    }

    public static Tensor ClampMin(this Tensor x, long least)
    {
        using Scalar held = least;
        return x.clamp_min(held);
    }

    public static Tensor Clamp(this Tensor x, double least, double most)
    {
        using Scalar low = least, high = most;
        return x.clamp(low, high);
    }

    /// <summary>Whether each number of x is at least a number.</summary>
    public static Tensor GreaterOrEqual(this Tensor x, double number)
    {
        using Scalar held = number;
        return x.ge(held);
    }

    /// <summary>The remainder of an integer division.</summary>
    public static Tensor RemainderScalar(this Tensor x, long divisor)
    {
        using Scalar held = divisor;
        return x.remainder(held);
    }

    /// <summary>A number where a mask is true, x elsewhere.</summary>
    public static Tensor MaskedFill(this Tensor x, Tensor mask, double number)
    {
        using Scalar held = number;
        return x.masked_fill(mask, held);
    }

    /// <summary><c>x</c> with a source added to some of its rows or columns.</summary>
    public static Tensor IndexAdd(this Tensor x, long dimension, Tensor index, Tensor source)
    {
        using Scalar one = 1;
        return x.index_add(dimension, index, source, one);
    }

    /// <summary>The same, in place.</summary>
    public static Tensor IndexAddInPlace(this Tensor x, long dimension, Tensor index, Tensor source)
    {
        using Scalar one = 1;
        return x.index_add_(dimension, index, source, one);
    }

    /// <summary>A tensor filled with a number.</summary>
    public static Tensor Full(long[] shape, float number, ScalarType type, Device? device = null)
    {
        using Scalar held = number;
        return full(shape, held, type, device);
    }

    /// <summary>The integers from the first to the last, exclusive: int64, on the CPU.</summary>
    public static Tensor Arange(long first, long last)
    {
        using Scalar from = first, to = last, step = 1L;
        return arange(from, to, step, ScalarType.Int64);
    }

    /// <summary>The number of a tensor of one element.</summary>
    public static double ReadDouble(this Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.detach().to(ScalarType.Float64).cpu().data<double>()[0];
    }

    /// <summary>The integer of a tensor of one element.</summary>
    public static long ReadInt64(this Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.detach().to(ScalarType.Int64).cpu().data<long>()[0];
    }

    /// <summary>Whether a tensor of one element is true.</summary>
    public static bool ReadBool(this Tensor x) => x.ReadInt64() != 0;
}
