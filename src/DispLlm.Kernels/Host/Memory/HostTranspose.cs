using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>Transposes a matrix, in squares of four by four where the processor has SSE.</summary>
internal static unsafe class HostTranspose
{
    private const int Side = 4;

    /// <summary>Writes <c>[rows, columns]</c> as <c>[columns, rows]</c>.</summary>
    /// <param name="from">The first row.</param>
    /// <param name="stride">Numbers from one row to the next.</param>
    /// <param name="rows">The number of rows.</param>
    /// <param name="columns">The number of columns.</param>
    /// <param name="to">The first column of the result.</param>
    /// <param name="toStride">Numbers from one column to the next.</param>
    public static void Write(float* from, long stride, long rows, long columns, float* to, long toStride)
    {
        for (long row = 0; row < rows; row += Side, from += Side * stride, to += Side)
        {
            long column = 0;
            for (; Sse.IsSupported && row + Side <= rows && column + Side <= columns; column += Side)
            {
                TransposeSquare(from + column, stride, to + (column * toStride), toStride);
            }

            for (; column < columns; column++)
            {
                for (long i = 0; i < Math.Min(Side, rows - row); i++)
                {
                    to[(column * toStride) + i] = from[(i * stride) + column];
                }
            }
        }
    }

    private static void TransposeSquare(float* from, long stride, float* to, long toStride)
    {
        Vector128<float> a = Vector128.Load(from), b = Vector128.Load(from + stride), c = Vector128.Load(from + (2 * stride)),
            d = Vector128.Load(from + (3 * stride));
        Vector128<float> low = Sse.UnpackLow(a, b), lower = Sse.UnpackLow(c, d), high = Sse.UnpackHigh(a, b), higher = Sse.UnpackHigh(c, d);
        Sse.MoveLowToHigh(low, lower).Store(to);
        Sse.MoveHighToLow(lower, low).Store(to + toStride);
        Sse.MoveLowToHigh(high, higher).Store(to + (2 * toStride));
        Sse.MoveHighToLow(higher, high).Store(to + (3 * toStride));
    }
}
