using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>A norm over rows in the CPU's memory, of which all features are written, or the selected ones: computed in float32 and rounded once, in one pass.</summary>
/// <param name="weight">One row.</param>
/// <param name="bias">One row; null for none.</param>
/// <param name="centred">Whether the mean is subtracted.</param>
/// <param name="epsilon">Added to the mean square.</param>
internal readonly unsafe struct HostNorm(HostMatrix weight, HostMatrix? bias, bool centred, double epsilon)
{
    /// <summary>Norms rows.</summary>
    /// <param name="inputs">What is normed.</param>
    /// <param name="selection">What is written; null for everything.</param>
    /// <param name="outputs">Where.</param>
    public void Apply(HostMatrix inputs, HostSelection? selection, HostMatrix outputs)
    {
        HostMatrix weights = weight, biases = bias ?? weight;
        bool shifts = bias is not null, centres = centred;
        double added = epsilon;
        long width = inputs.Width, normed = selection is null ? 0 : width;
        HostThreads.Share(inputs.Count, width, inputs.Scratch + outputs.Scratch + weights.Scratch + biases.Scratch + normed, (first, last, scratch) =>
        {
            float* room = scratch + inputs.Scratch, whole = room + outputs.Scratch, scale = weights.Read(0, whole + normed);
            float* shift = shifts ? biases.Read(0, whole + normed + weights.Scratch) : null;
            for (long row = first; row < last; row++)
            {
                float* from = inputs.Read(row, scratch), to = outputs.Room(row, room);
                float mean = centres ? SimdMath.Sum(from, width) / width : 0;
                float spread = 1 / MathF.Sqrt((float)((SimdMath.SquaredDistance(from, width, mean) / width) + added));
                Scale(from, selection is null ? to : whole, scale, shift, width, mean, spread);
                selection?.Pick(whole, to);
                outputs.Keep(row, room);
            }
        });
    }

    private static void Scale(float* from, float* to, float* scale, float* shift, long count, float mean, float spread)
    {
        Vector512<float> centre = Vector512.Create(mean), factor = Vector512.Create(spread);
        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            var normed = (Vector512.Load(from + i) - centre) * factor * Vector512.Load(scale + i);
            (shift is null ? normed : normed + Vector512.Load(shift + i)).Store(to + i);
        }

        for (; i < count; i++)
        {
            float normed = (from[i] - mean) * spread * scale[i];
            to[i] = shift is null ? normed : normed + shift[i];
        }
    }
}
