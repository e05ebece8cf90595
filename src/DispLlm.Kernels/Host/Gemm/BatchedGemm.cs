using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>
/// More rows than a few: every lane of a vector is a row. A weight is taken to all of them by one instruction, and no sum has to be taken across lanes. Weights pass in tiles, as
/// float32, while those behind them are being fetched.
/// </summary>
/// <typeparam name="T">What a weight is stored as.</typeparam>
/// <typeparam name="TFormat">How it is read.</typeparam>
/// <typeparam name="TVector">What it is read into.</typeparam>
/// <typeparam name="TWidth">How that is computed with.</typeparam>
internal readonly unsafe struct BatchedGemm<T, TFormat, TVector, TWidth> : IHostGemm<T>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    // A tile is as much of the weights as stays in the first cache beside the input's part.
    private const int TileOutputs = 32, TileWidth = 128;

    private const long RowsTurnedAtOnce = 4;

    /// <summary>A tile of weights, and its sums.</summary>
    public static long Scratch(long rows) => TileOutputs * (TileWidth + CountLanes(rows));

    /// <inheritdoc/>
    public static long ArrangedSize(long rows, long width) => CountLanes(rows) * Arranged(width);

    /// <summary>Rows side by side, <c>[arranged width, lanes]</c>, features in the order in which the format reads weights; lanes without a row are 0.</summary>
    public static void Arrange(T* x, long rows, long width, float* to)
    {
        long lanes = CountLanes(rows), arranged = Arranged(width), turns = (rows + RowsTurnedAtOnce - 1) / RowsTurnedAtOnce;
        if (lanes > rows)
        {
            new Span<float>(to, checked((int)(lanes * arranged))).Clear();
        }

        HostThreads.Share(turns, RowsTurnedAtOnce * width, RowsTurnedAtOnce * arranged, (first, last, scratch) =>
        {
            for (long row = first * RowsTurnedAtOnce; row < Math.Min(rows, last * RowsTurnedAtOnce); row += RowsTurnedAtOnce)
            {
                long some = Math.Min(RowsTurnedAtOnce, rows - row);
                SmallBatchGemm<T, TFormat, TVector, TWidth>.Arrange(x + (row * width), some, width, scratch);
                HostTranspose.Write(scratch, arranged, some, arranged, to + row, lanes);
            }
        });
    }

    /// <inheritdoc/>
    public static void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride, float* scratch)
    {
        long lanes = CountLanes(rows), steps = Arranged(width) / Step, tiles = (Arranged(width) + TileWidth - 1) / TileWidth;

        // All tiles are about as wide as each other: a narrow one would end before the weights behind it are fetched.
        long EndOf(long index) => (index + 1) * steps / tiles * Step;

        float* tile = scratch, sums = tile + (TileOutputs * TileWidth);
        for (long output = 0; output < count; output += TileOutputs)
        {
            long outputs = Math.Min(TileOutputs, count - output);
            T* weights = weight + (output * width);
            new Span<float>(sums, (int)(TileOutputs * lanes)).Clear();
            for (long index = 0, from = 0; index < tiles; index++)
            {
                long end = EndOf(index), features = Math.Min(end, width) - from;
                SmallBatchGemm<T, TFormat, TVector, TWidth>.Arrange(weights + from, outputs, features, width, tile, TileWidth);
                bool isLast = index == tiles - 1;
                T* next = isLast ? weights + (TileOutputs * width) : weights + end;
                long nextWidth = isLast ? EndOf(0) : Math.Min(EndOf(index + 1), width) - end;
                Add(x + (from * lanes), lanes, tile, outputs, Arranged(features), sums, new Ahead((byte*)next, width * sizeof(T), nextWidth * sizeof(T)));
                from = end;
            }

            HostTranspose.Write(sums, lanes, outputs, rows, result + output, stride);
        }
    }

    private static long Step => SmallBatchGemm<T, TFormat, TVector, TWidth>.Step;

    private static long CountLanes(long rows) => (rows + TWidth.Lanes - 1) / TWidth.Lanes * TWidth.Lanes;

    private static long Arranged(long width) => SmallBatchGemm<T, TFormat, TVector, TWidth>.ArrangedWidth(width);

    /// <summary>Adds a tile's products to its sums. Outputs that a tile has not are computed beside the others, from whatever stands there, and read by nobody.</summary>
    private static void Add(float* x, long lanes, float* tile, long outputs, long features, float* sums, Ahead ahead)
    {
        long lane = 0;
        for (; lane + (2 * TWidth.Lanes) <= lanes; lane += 2 * TWidth.Lanes)
        {
            for (long output = 0; output < outputs; output += 4)
            {
                FourOfTwo(x + lane, lanes, tile + (output * TileWidth), features, sums + (output * lanes) + lane, ahead.Rows(output, lane == 0 ? 4 : 0));
            }
        }

        for (long output = 0; lane < lanes && output < outputs; output += 8)
        {
            EightOfOne(x + lane, lanes, tile + (output * TileWidth), features, sums + (output * lanes) + lane, ahead.Rows(output, lane == 0 ? 8 : 0));
        }
    }

    private static void EightOfOne(float* x, long lanes, float* w, long features, float* sums, Ahead ahead)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (long i = 0; i < features; i++, x += lanes, w++)
        {
            ahead.FetchLine();
            TVector a = TWidth.Load(x);
            s0 = TWidth.PlusProduct(s0, a, TWidth.Filled(w[0]));
            s1 = TWidth.PlusProduct(s1, a, TWidth.Filled(w[TileWidth]));
            s2 = TWidth.PlusProduct(s2, a, TWidth.Filled(w[2 * TileWidth]));
            s3 = TWidth.PlusProduct(s3, a, TWidth.Filled(w[3 * TileWidth]));
            s4 = TWidth.PlusProduct(s4, a, TWidth.Filled(w[4 * TileWidth]));
            s5 = TWidth.PlusProduct(s5, a, TWidth.Filled(w[5 * TileWidth]));
            s6 = TWidth.PlusProduct(s6, a, TWidth.Filled(w[6 * TileWidth]));
            s7 = TWidth.PlusProduct(s7, a, TWidth.Filled(w[7 * TileWidth]));
        }

        Plus(sums, s0);
        Plus(sums + lanes, s1);
        Plus(sums + (2 * lanes), s2);
        Plus(sums + (3 * lanes), s3);
        Plus(sums + (4 * lanes), s4);
        Plus(sums + (5 * lanes), s5);
        Plus(sums + (6 * lanes), s6);
        Plus(sums + (7 * lanes), s7);
    }

    private static void FourOfTwo(float* x, long lanes, float* w, long features, float* sums, Ahead ahead)
    {
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (long i = 0; i < features; i++, x += lanes, w++)
        {
            ahead.FetchLine();
            TVector a = TWidth.Load(x), b = TWidth.Load(x + TWidth.Lanes), weight = TWidth.Filled(w[0]);
            a0 = TWidth.PlusProduct(a0, a, weight);
            b0 = TWidth.PlusProduct(b0, b, weight);
            weight = TWidth.Filled(w[TileWidth]);
            a1 = TWidth.PlusProduct(a1, a, weight);
            b1 = TWidth.PlusProduct(b1, b, weight);
            weight = TWidth.Filled(w[2 * TileWidth]);
            a2 = TWidth.PlusProduct(a2, a, weight);
            b2 = TWidth.PlusProduct(b2, b, weight);
            weight = TWidth.Filled(w[3 * TileWidth]);
            a3 = TWidth.PlusProduct(a3, a, weight);
            b3 = TWidth.PlusProduct(b3, b, weight);
        }

        Plus(sums, a0);
        Plus(sums + TWidth.Lanes, b0);
        Plus(sums + lanes, a1);
        Plus(sums + lanes + TWidth.Lanes, b1);
        Plus(sums + (2 * lanes), a2);
        Plus(sums + (2 * lanes) + TWidth.Lanes, b2);
        Plus(sums + (3 * lanes), a3);
        Plus(sums + (3 * lanes) + TWidth.Lanes, b3);
    }

    private static void Plus(float* sums, TVector added) => TWidth.Store(TWidth.PlusProduct(TWidth.Load(sums), added, TWidth.Filled(1)), sums);

    /// <summary>Weights that the next tile reads, to be fetched a line at a time: all at once, they would hold up what is computed meanwhile.</summary>
    private struct Ahead(byte* first, long stride, long bytes)
    {
        private readonly byte* _first = first;
        private byte* _row = first, _end = first, _line = LineOf(first);

        /// <summary>Those of some of the tile's outputs.</summary>
        public readonly Ahead Rows(long from, long count)
        {
            byte* row = _first + (from * stride);
            return new(_first, stride, bytes) { _row = row, _end = row + (count * stride), _line = LineOf(row) };
        }

        /// <summary>Fetches a line, if any is left, into the second cache: the first is full with what is computed.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void FetchLine()
        {
            if (!Sse.IsSupported || _row >= _end)
            {
                return;
            }

            Sse.Prefetch1(_line);
            _line += AlignedBuffer.Line;
            if (_line >= _row + bytes)
            {
                _row += stride;
                _line = LineOf(_row);
            }
        }

        /// <summary>Where the line begins that a byte lies in: a row that does not begin with a line ends in one more.</summary>
        private static byte* LineOf(byte* at) => (byte*)((nuint)at & ~(nuint)(AlignedBuffer.Line - 1));
    }
}
