using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Features multiplied by their gates, in host memory, forward and backward. Gates are <c>[d]</c>, float32.</summary>
internal static unsafe class GatingKernel
{
    /// <summary><c>x * gates</c>: <c>[..., d]</c>, or <c>[..., selected]</c> where an index is given.</summary>
    public static Tensor Forward(Tensor x, Tensor gates, Tensor? index)
    {
        Tensor result = DeviceKernels.EmptyLike(x, index?.numel() ?? x.size(-1));
        HostMatrix inputs = HostMatrix.FromTensor(x), outputs = HostMatrix.FromTensor(result);
        var selection = HostSelection.FromIndex(index, x);
        float* factors = HostMatrix.FloatPointer(gates);
        long gated = selection is null ? 0 : inputs.Width;
        HostThreads.For(inputs.Count, outputs.Width, inputs.Scratch + outputs.Scratch + gated, (first, last, scratch) =>
        {
            float* outputScratch = scratch + inputs.Scratch, whole = outputScratch + outputs.Scratch;
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), to = outputs.BeginWrite(row, outputScratch);
                SimdMath.Multiply(from, factors, selection is null ? to : whole, inputs.Width);
                selection?.Gather(whole, to);
                outputs.EndWrite(row, outputScratch);
            }
        });
        HostMatrix.KeepAlive(x, gates, index);
        return result;
    }

    /// <summary><c>stream + features * gates</c>, <c>[..., d]</c>.</summary>
    public static Tensor AddForward(Tensor stream, Tensor features, Tensor gates)
    {
        Tensor result = empty_like(stream);
        HostMatrix streams = HostMatrix.FromTensor(stream), added = HostMatrix.FromTensor(features), sums = HostMatrix.FromTensor(result);
        float* factors = HostMatrix.FloatPointer(gates);
        HostThreads.For(streams.Count, 2 * streams.Width, 2 * streams.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* from = streams.Read(row, scratch), to = sums.BeginWrite(row, scratch);
                SimdMath.MultiplyAdd(from, added.Read(row, scratch + streams.Scratch), factors, to, streams.Width);
                sums.EndWrite(row, scratch);
            }
        });
        HostMatrix.KeepAlive(stream, features, gates);
        return result;
    }

    /// <summary>The gradients of gates and of features, in one pass.</summary>
    /// <param name="features">The features before their gates, <c>[..., d]</c>.</param>
    /// <param name="gradOutput">The gradient of the gated features, <c>[..., d]</c>.</param>
    /// <param name="gates">The gates.</param>
    /// <param name="index">The features whose gradient is wanted, int64; null for all.</param>
    /// <param name="inPlace">Whether the gradient of the features is written over <paramref name="gradOutput"/>; without an index
    /// only.</param>
    /// <returns>The gradient of the gates, <c>[d]</c> in float32, summed over all tokens, and that of the features, <c>[..., d or
    /// selected]</c>.</returns>
    public static (Tensor Gates, Tensor Features) Backward(Tensor features, Tensor gradOutput, Tensor gates, Tensor? index, bool inPlace)
    {
        Tensor result = inPlace ? gradOutput : DeviceKernels.EmptyLike(gradOutput, index?.numel() ?? gradOutput.size(-1));
        HostMatrix rows = HostMatrix.FromTensor(features), grads = HostMatrix.FromTensor(gradOutput),
            results = HostMatrix.FromTensor(result);
        var selection = HostSelection.FromIndex(index, features);
        long width = rows.Width, chunks = HostThreads.CountChunks(rows.Count, width, out long size), whole = selection is null ? 0 : width;
        float* factors = HostMatrix.FloatPointer(gates);

        // A row of sums for each chunk; the first is the result.
        Tensor gateGradient = empty(width);
        using var others = new AlignedBuffer((chunks - 1) * width);
        float* sums = HostMatrix.FloatPointer(gateGradient);
        float* more = others.First - width;
        HostThreads.For(chunks, size * width, rows.Scratch + grads.Scratch + results.Scratch + whole, (firstChunk, lastChunk, scratch) =>
        {
            float* gradScratch = scratch + rows.Scratch, gated = gradScratch + grads.Scratch, resultScratch = gated + whole;
            for (long chunk = firstChunk; chunk < lastChunk; chunk++)
            {
                float* sum = chunk == 0 ? sums : more + (chunk * width);
                new Span<float>(sum, (int)width).Clear();
                for (long row = chunk * size; row < Math.Min(rows.Count, (chunk + 1) * size); row++)
                {
                    float* grad = grads.Read(row, gradScratch), to = results.BeginWrite(row, resultScratch);
                    SimdMath.MultiplyAdd(sum, rows.Read(row, scratch), grad, sum, width);
                    SimdMath.Multiply(grad, factors, selection is null ? to : gated, width);
                    selection?.Gather(gated, to);
                    results.EndWrite(row, resultScratch);
                }
            }
        });
        for (long chunk = 1; chunk < chunks; chunk++)
        {
            SimdMath.Add(sums, more + (chunk * width), width);
        }

        HostMatrix.KeepAlive(features, gradOutput, gates, index, result);
        return (gateGradient, result);
    }
}
