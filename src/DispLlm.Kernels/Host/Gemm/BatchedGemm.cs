using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace DispLlm.Kernels;

/// <summary>
/// Batched GEMM on one thread: every lane of a vector is a row. A weight is broadcast to all of them, and no sum is taken across lanes.
/// Weights pass in tiles of float32 while the next ones are prefetched.
/// </summary>
/// <typeparam name="T">The stored type of a weight.</typeparam>
/// <typeparam name="TFormat">How weights are read.</typeparam>
/// <typeparam name="TVector">The vector that they are read into.</typeparam>
/// <typeparam name="TWidth">The width of the vector.</typeparam>
internal readonly unsafe struct BatchedGemm<T, TFormat, TVector, TWidth> : IHostGemm<T>
    where T : unmanaged
    where TFormat : IWeightFormat<T, TVector>
    where TVector : struct
    where TWidth : IVectorWidth<TVector>
{
    // The L1 cache holds a tile of weights beside its part of the input.
    private const int TileOutputs = 32, TileWidth = 128;

    private const long TransposedRows = 4;

    /// <summary>A tile of weights, and its sums.</summary>
    public static long Scratch(long rows) => TileOutputs * (TileWidth + CountLanes(rows));

    /// <inheritdoc/>
    public static long PackedSize(long rows, long width) => CountLanes(rows) * Padded(width);

    /// <summary>
    /// The transposed rows, <c>[packed width, lanes]</c>, features in the order in which the format reads weights; lanes without a row are
    /// 0.
    /// </summary>
    public static void Pack(T* x, long rows, long width, float* to)
    {
        long lanes = CountLanes(rows), packed = Padded(width), groups = (rows + TransposedRows - 1) / TransposedRows;
        if (lanes > rows)
        {
            new Span<float>(to, checked((int)(lanes * packed))).Clear();
        }

        HostThreads.For(groups, TransposedRows * width, TransposedRows * packed, (first, last, scratch) =>
        {
            for (long row = first * TransposedRows; row < Math.Min(rows, last * TransposedRows); row += TransposedRows)
            {
                long some = Math.Min(TransposedRows, rows - row);
                SmallBatchGemm<T, TFormat, TVector, TWidth>.Pack(x + (row * width), some, width, scratch);
                HostTranspose.Write(scratch, packed, some, packed, to + row, lanes);
            }
        });
    }

    /// <inheritdoc/>
    public static void Apply(float* x, long rows, long width, T* weight, long count, float* result, long stride, float* scratch)
    {
        long lanes = CountLanes(rows), steps = Padded(width) / Step, tiles = (Padded(width) + TileWidth - 1) / TileWidth;

        // All tiles are about equally wide: a narrow one would end before the next weights are prefetched.
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
                SmallBatchGemm<T, TFormat, TVector, TWidth>.Pack(weights + from, outputs, features, width, tile, TileWidth);
                bool isLast = index == tiles - 1;
                T* next = isLast ? weights + (TileOutputs * width) : weights + end;
                long nextWidth = isLast ? EndOf(0) : Math.Min(EndOf(index + 1), width) - end;
                Add(x + (from * lanes), lanes, tile, outputs, Padded(features), sums,
                    new Prefetcher((byte*)next, width * sizeof(T), nextWidth * sizeof(T)));
                from = end;
            }

            HostTranspose.Write(sums, lanes, outputs, rows, result + output, stride);
        }
    }

    private static long Step => SmallBatchGemm<T, TFormat, TVector, TWidth>.Step;

    private static long CountLanes(long rows) => (rows + TWidth.Lanes - 1) / TWidth.Lanes * TWidth.Lanes;

    private static long Padded(long width) => SmallBatchGemm<T, TFormat, TVector, TWidth>.PackedWidth(width);

    /// <summary>
    /// Multiplies a tile and adds it to its sums. Outputs after the tile's last one are computed from undefined numbers, and not read.
    /// </summary>
    private static void Add(float* x, long lanes, float* tile, long outputs, long features, float* sums, Prefetcher ahead)
    {
        long lane = 0;
        for (; lane + (2 * TWidth.Lanes) <= lanes; lane += 2 * TWidth.Lanes)
        {
            for (long output = 0; output < outputs; output += 4)
            {
                FourOfTwo(x + lane, lanes, tile + (output * TileWidth), features, sums + (output * lanes) + lane,
                    ahead.Rows(output, lane == 0 ? 4 : 0));
            }
        }

        for (long output = 0; lane < lanes && output < outputs; output += 8)
        {
            EightOfOne(x + lane, lanes, tile + (output * TileWidth), features, sums + (output * lanes) + lane,
                ahead.Rows(output, lane == 0 ? 8 : 0));
        }
    }

    private static void EightOfOne(float* x, long lanes, float* w, long features, float* sums, Prefetcher ahead)
    {
        TVector s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        for (long i = 0; i < features; i++, x += lanes, w++)
        {
            ahead.PrefetchLine();
            TVector a = TWidth.Load(x);
            s0 = TWidth.MultiplyAdd(s0, a, TWidth.Broadcast(w[0]));
            s1 = TWidth.MultiplyAdd(s1, a, TWidth.Broadcast(w[TileWidth]));
            s2 = TWidth.MultiplyAdd(s2, a, TWidth.Broadcast(w[2 * TileWidth]));
            s3 = TWidth.MultiplyAdd(s3, a, TWidth.Broadcast(w[3 * TileWidth]));
            s4 = TWidth.MultiplyAdd(s4, a, TWidth.Broadcast(w[4 * TileWidth]));
            s5 = TWidth.MultiplyAdd(s5, a, TWidth.Broadcast(w[5 * TileWidth]));
            s6 = TWidth.MultiplyAdd(s6, a, TWidth.Broadcast(w[6 * TileWidth]));
            s7 = TWidth.MultiplyAdd(s7, a, TWidth.Broadcast(w[7 * TileWidth]));
        }

        AddTo(sums, s0);
        AddTo(sums + lanes, s1);
        AddTo(sums + (2 * lanes), s2);
        AddTo(sums + (3 * lanes), s3);
        AddTo(sums + (4 * lanes), s4);
        AddTo(sums + (5 * lanes), s5);
        AddTo(sums + (6 * lanes), s6);
        AddTo(sums + (7 * lanes), s7);
    }

    private static void FourOfTwo(float* x, long lanes, float* w, long features, float* sums, Prefetcher ahead)
    {
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        for (long i = 0; i < features; i++, x += lanes, w++)
        {
            ahead.PrefetchLine();
            TVector a = TWidth.Load(x), b = TWidth.Load(x + TWidth.Lanes), weight = TWidth.Broadcast(w[0]);
            a0 = TWidth.MultiplyAdd(a0, a, weight);
            b0 = TWidth.MultiplyAdd(b0, b, weight);
            weight = TWidth.Broadcast(w[TileWidth]);
            a1 = TWidth.MultiplyAdd(a1, a, weight);
            b1 = TWidth.MultiplyAdd(b1, b, weight);
            weight = TWidth.Broadcast(w[2 * TileWidth]);
            a2 = TWidth.MultiplyAdd(a2, a, weight);
            b2 = TWidth.MultiplyAdd(b2, b, weight);
            weight = TWidth.Broadcast(w[3 * TileWidth]);
            a3 = TWidth.MultiplyAdd(a3, a, weight);
            b3 = TWidth.MultiplyAdd(b3, b, weight);
        }

        AddTo(sums, a0);
        AddTo(sums + TWidth.Lanes, b0);
        AddTo(sums + lanes, a1);
        AddTo(sums + lanes + TWidth.Lanes, b1);
        AddTo(sums + (2 * lanes), a2);
        AddTo(sums + (2 * lanes) + TWidth.Lanes, b2);
        AddTo(sums + (3 * lanes), a3);
        AddTo(sums + (3 * lanes) + TWidth.Lanes, b3);
    }

    private static void AddTo(float* sums, TVector added) =>
        TWidth.Store(TWidth.MultiplyAdd(TWidth.Load(sums), added, TWidth.Broadcast(1)), sums);

    /// <summary>Prefetches the weights of the next tile, a cache line at a time: all at once they would stall the computation.</summary>
    private struct Prefetcher(byte* first, long stride, long bytes)
    {
        private readonly byte* _first = first;
        private byte* _row = first, _end = first, _line = LineOf(first);

        /// <summary>The same for some of the tile's outputs.</summary>
        public readonly Prefetcher Rows(long from, long count)
        {
            byte* row = _first + (from * stride);
            return new(_first, stride, bytes) { _row = row, _end = row + (count * stride), _line = LineOf(row) };
        }

        /// <summary>Prefetches the next line, if any is left, into the L2 cache: L1 is full with the current tile.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void PrefetchLine()
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

        /// <summary>The begin of the line that a byte is in.</summary>
        private static byte* LineOf(byte* at) => (byte*)((nuint)at & ~(nuint)(AlignedBuffer.Line - 1));
    }
}
