using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Addition to selected features of rows in host memory.</summary>
internal static unsafe class IndexAddKernel
{
    /// <summary>A stream <c>[..., d]</c> with <c>[..., selected]</c> added to its selected features, in place or as a new tensor.</summary>
    public static Tensor Forward(Tensor stream, Tensor index, Tensor output, bool inPlace)
    {
        Tensor result = inPlace ? stream : DeviceKernels.EmptyLike(stream, stream.size(-1));
        HostMatrix streams = HostMatrix.FromTensor(stream), outputs = HostMatrix.FromTensor(output), sums = HostMatrix.FromTensor(result);
        var selection = new HostSelection(index, streams.Width, streams.Count);
        HostThreads.For(streams.Count, outputs.Width, streams.Scratch + outputs.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* sum = sums.BeginWrite(row, scratch), added = outputs.Read(row, scratch + streams.Scratch);
                streams.ReadInto(row, sum);
                selection.ScatterAdd(sum, added);
                sums.EndWrite(row, scratch);
            }
        });
        HostMatrix.KeepAlive(stream, index, output);
        return result;
    }
}
