using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Addition to selected features of rows in host memory.</summary>
internal static unsafe class IndexAddKernel
{
    /// <summary>A stream <c>[..., d]</c> with <c>[..., selected]</c> added to its selected features, in place or as a new tensor.</summary>
    public static Tensor Forward(Tensor stream, Tensor index, Tensor output, bool inPlace)
    {
        Tensor result = inPlace ? stream : DeviceKernels.EmptyLike(stream, stream.size(-1));
        Forward(HostMatrix.FromTensor(stream), HostSelection.FromIndex(index, stream), HostMatrix.FromTensor(output),
            HostMatrix.FromTensor(result));
        HostMatrix.KeepAlive(stream, index, output);
        return result;
    }

    /// <summary>The same for rows.</summary>
    /// <param name="streams"><c>[rows, d]</c>.</param>
    /// <param name="selection">The features that are added to; null for all.</param>
    /// <param name="outputs"><c>[rows, d or selected]</c>.</param>
    /// <param name="sums"><c>[rows, d]</c>; may be <paramref name="streams"/>.</param>
    public static void Forward(HostMatrix streams, HostSelection? selection, HostMatrix outputs, HostMatrix sums) =>
        HostThreads.For(streams.Count, outputs.Width, streams.Scratch + outputs.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* sum = sums.BeginWrite(row, scratch), added = outputs.Read(row, scratch + streams.Scratch);
                streams.ReadInto(row, sum);
                if (selection is { } selected)
                {
                    selected.ScatterAdd(sum, added);
                }
                else
                {
                    SimdMath.Add(sum, added, streams.Width);
                }

                sums.EndWrite(row, scratch);
            }
        });
}
