using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace DispLlm.Kernels;

/// <summary>
/// Elementwise kernels over rows in host memory, each in one pass and rounded once.
/// </summary>
internal static unsafe class HostElementwise
{
    /// <summary>Rows with others added to their selected features, or to all.</summary>
    /// <param name="streams">What is added to.</param>
    /// <param name="selection">Where; null for everywhere.</param>
    /// <param name="outputs">What is added.</param>
    /// <param name="sums">Where sums are written; may be what is added to.</param>
    public static void IndexAdd(HostMatrix streams, HostSelection? selection, HostMatrix outputs, HostMatrix sums) =>
        HostThreads.Share(streams.Count, outputs.Width, streams.Scratch + outputs.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* sum = sums.Room(row, scratch), added = outputs.Read(row, scratch + streams.Scratch);
                streams.ReadInto(row, sum);
                if (selection is { } selected)
                {
                    selected.AddAt(sum, added);
                }
                else
                {
                    SimdMath.Add(sum, added, streams.Width);
                }

                sums.Keep(row, scratch);
            }
        });

    /// <summary><c>gate * sigmoid(gate) * up</c>, which may be written over either.</summary>
    public static void SwiGlu(HostMatrix gates, HostMatrix ups, HostMatrix hidden) =>
        HostThreads.Share(gates.Count, 4 * gates.Width, 2 * gates.Scratch, (first, last, scratch) =>
        {
            for (long row = first; row < last; row++)
            {
                float* x = gates.Read(row, scratch), y = ups.Read(row, scratch + gates.Scratch), to = hidden.Room(row, scratch);
                Silu(x, y, to, gates.Width);
                hidden.Keep(row, scratch);
            }
        });

    /// <summary>Turns the pairs (i, i + half) of the first features of every head, in place.</summary>
    /// <param name="rows">Rows of heads.</param>
    /// <param name="size">Features of a head.</param>
    /// <param name="cosines">A row for each position; rows take turns with them. Both halves are the same.</param>
    /// <param name="sines">As many.</param>
    /// <param name="back">Whether to turn the other way round, as gradients are.</param>
    public static void Rotate(HostMatrix rows, long size, HostMatrix cosines, HostMatrix sines, bool back) =>
        HostThreads.Share(rows.Count, rows.Width, rows.Scratch + (2 * cosines.Scratch), (first, last, scratch) =>
        {
            float* room = scratch + rows.Scratch;
            for (long row = first; row < last; row++)
            {
                float* c = cosines.Read(row % cosines.Count, room), s = sines.Read(row % sines.Count, room + cosines.Scratch);
                float* numbers = rows.Read(row, scratch);
                for (long head = 0; head < rows.Width / size; head++)
                {
                    Turn(numbers + (head * size), c, s + (cosines.Width / 2), cosines.Width / 2, back ? -1 : 1);
                }

                rows.Keep(row, scratch);
            }
        });

    private static void Silu(float* gate, float* up, float* to, long count)
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<float> Of(Vector512<float> gate, Vector512<float> up) => gate * SimdMath.Sigmoid(gate) * up;

        long i = 0;
        for (; i + SimdMath.Lanes <= count; i += SimdMath.Lanes)
        {
            Of(Vector512.Load(gate + i), Vector512.Load(up + i)).Store(to + i);
        }

        if (i < count)
        {
            SimdMath.Store(Of(SimdMath.Load(gate, i, count), SimdMath.Load(up, i, count)), to, i, count);
        }
    }

    private static void Turn(float* head, float* cosine, float* sine, long half, float direction)
    {
        var directions = Vector512.Create(direction);
        long i = 0;
        for (; i + SimdMath.Lanes <= half; i += SimdMath.Lanes)
        {
            Vector512<float> first = Vector512.Load(head + i), second = Vector512.Load(head + half + i);
            Vector512<float> c = Vector512.Load(cosine + i), s = Vector512.Load(sine + i) * directions;
            ((first * c) - (second * s)).Store(head + i);
            ((second * c) + (first * s)).Store(head + half + i);
        }

        for (; i < half; i++)
        {
            (float first, float second, float s) = (head[i], head[half + i], sine[i] * direction);
            head[i] = (first * cosine[i]) - (second * s);
            head[half + i] = (second * cosine[i]) + (first * s);
        }
    }
}
