using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary><c>gate * sigmoid(gate) * up</c> in host memory, forward and backward.</summary>
internal static unsafe class SwiGluKernel
{
    /// <summary>The hidden features, written over the gate or into a new tensor.</summary>
    public static Tensor Forward(Tensor gate, Tensor up, bool inPlace)
    {
        Tensor result = inPlace ? gate : empty_like(gate);
        Forward(HostMatrix.FromTensor(gate), HostMatrix.FromTensor(up), HostMatrix.FromTensor(result));
        HostMatrix.KeepAlive(gate, up);
        return result;
    }

    /// <summary>The same for rows. The result may be either input.</summary>
    public static void Forward(HostMatrix gates, HostMatrix ups, HostMatrix results) =>
        HostThreads.For(gates.Count, 4 * gates.Width, 2 * gates.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* gate = gates.Read(row, scratch), up = ups.Read(row, scratch + gates.Scratch), to = results.BeginWrite(row, scratch);
                long i = 0;
                for (; i + SimdMath.Lanes <= gates.Width; i += SimdMath.Lanes)
                {
                    SwiGlu(Vector512.Load(gate + i), Vector512.Load(up + i)).Store(to + i);
                }

                if (i < gates.Width)
                {
                    SimdMath.Store(SwiGlu(SimdMath.Load(gate, i, gates.Width), SimdMath.Load(up, i, gates.Width)), to, i, gates.Width);
                }

                results.EndWrite(row, scratch);
            }
        });

    /// <summary>The gradients of gate and up.</summary>
    public static (Tensor Gate, Tensor Up) Backward(Tensor gate, Tensor up, Tensor gradOutput)
    {
        Tensor gateGradient = empty_like(gate), upGradient = empty_like(up);
        HostMatrix gates = HostMatrix.FromTensor(gate), ups = HostMatrix.FromTensor(up), grads = HostMatrix.FromTensor(gradOutput);
        HostMatrix gateResults = HostMatrix.FromTensor(gateGradient), upResults = HostMatrix.FromTensor(upGradient);
        long width = gates.Width;
        HostThreads.For(gates.Count, 4 * width, 3 * gates.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* second = scratch + gates.Scratch, third = second + gates.Scratch;
                float* x = gates.Read(row, scratch), y = ups.Read(row, second), grad = grads.Read(row, third);
                float* toGate = gateResults.BeginWrite(row, scratch), toUp = upResults.BeginWrite(row, second);
                long i = 0;
                for (; i + SimdMath.Lanes <= width; i += SimdMath.Lanes)
                {
                    var (byGate, byUp) = Gradient(Vector512.Load(x + i), Vector512.Load(y + i), Vector512.Load(grad + i));
                    byGate.Store(toGate + i);
                    byUp.Store(toUp + i);
                }

                if (i < width)
                {
                    var (byGate, byUp) = Gradient(SimdMath.Load(x, i, width), SimdMath.Load(y, i, width), SimdMath.Load(grad, i, width));
                    SimdMath.Store(byGate, toGate, i, width);
                    SimdMath.Store(byUp, toUp, i, width);
                }

                gateResults.EndWrite(row, scratch);
                upResults.EndWrite(row, second);
            }
        });
        HostMatrix.KeepAlive(gate, up, gradOutput);
        return (gateGradient, upGradient);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> SwiGlu(Vector512<float> gate, Vector512<float> up) => gate * SimdMath.Sigmoid(gate) * up;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector512<float> Gate, Vector512<float> Up) Gradient(Vector512<float> gate, Vector512<float> up, Vector512<float> grad)
    {
        Vector512<float> sigmoid = SimdMath.Sigmoid(gate), silu = gate * sigmoid;
        return (grad * up * (sigmoid + (silu * (Vector512<float>.One - sigmoid))), grad * silu);
    }
}

/// <summary><c>gate * sigmoid(gate) * up</c> with a backward pass of one kernel. It saves both inputs and nothing else.</summary>
internal sealed class SwiGluFunction : autograd.SingleTensorFunction<SwiGluFunction>
{
    public override string Name => nameof(SwiGluFunction);

    /// <summary>The hidden features <c>[..., d_ff]</c>, differentiable in both. Requires kernels (<see cref="RowKernels.For"/>).</summary>
    public static Tensor Apply(Tensor gate, Tensor up) => apply(gate, up);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (gate, up) = ((Tensor)vars[0], (Tensor)vars[1]);
        ctx.save_for_backward([gate, up]);
        return RowKernels.For(gate, up)!.SwiGlu(gate, up, inPlace: false);
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        var (gate, up) = RowKernels.For(saved[0])!.SwiGluBackward(saved[0], saved[1], grad_output.contiguous());
        return [scope.Return(gate), scope.Return(up)];
    }
}
