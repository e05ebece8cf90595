using System.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// The kernels of a decode step on a GPU, <c>SmallBatchGemm.cu</c> and <c>DecodeAttention.cu</c>: several projections in one launch, and
/// attention with rotary embedding and cache update. A decode step in libtorch's operators is bound by their launches.
/// </summary>
internal sealed class CudaDecodeKernels
{
    // The tokens of a tensor-core tile, and the most of a launch.
    private const long Tile = 8, MaxTokens = 16;

    // Rows of weights of a block, by tokens. Twice as many where that still gives each multiprocessor enough blocks.
    private const long RowsOfOneTile = 8, RowsOfTwoTiles = 16, BlocksPerProcessor = 4;

    // Inputs that are loaded at once, and the most projections of a launch.
    private const long Inputs = 8, MaxProjections = 3;

    private const long Threads = 256, Warp = 32;

    // With fewer heads per multiprocessor, the positions of a head are split over blocks, at least so many each. The kernel has counters
    // for so many heads.
    private const long HeadsPerProcessor = 2, MinSplitLength = 64, MaxSplits = 64, MaxCountedHeads = 1024;

    private readonly CudaProgram _program;

    /// <summary>The kernels of a program.</summary>
    public CudaDecodeKernels(CudaProgram program) => _program = program;

    /// <summary>The kernels for tensors that require no gradient; null where there are none.</summary>
    public static CudaDecodeKernels? For(params ReadOnlySpan<Tensor> tensors) =>
        CudaProgram.For(tensors) is { } program && !RowKernels.AnyHasGradient(tensors) ? new CudaDecodeKernels(program) : null;

    /// <summary>
    /// Several projections of the same tokens, <c>[..., in]</c> in bfloat16; null where the kernel does not support them.
    /// </summary>
    public Tensor[]? Project(Tensor x, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
    {
        long width = x.size(-1);
        if (x.dtype != ScalarType.BFloat16 || width == 0 || width % Inputs != 0 || x.numel() > MaxTokens * width
            || projections.Length > MaxProjections)
        {
            return null;
        }

        long tokens = x.numel() / width, outputsOfAll = 0, blocks = 0;
        var weights = new CudaArgument[3 * MaxProjections];
        var outputs = new CudaArgument[MaxProjections];
        var results = new Tensor[projections.Length];
        CudaArgument input = x;
        if (tokens == 0 || input.Bits % 16 != 0)
        {
            return null;
        }

        for (int i = 0; i < projections.Length; i++)
        {
            var (weight, bias) = projections[i];
            weights[i] = weight;
            weights[MaxProjections + i] = bias;
            if (!weight.is_contiguous() || weight.dtype != x.dtype || weights[i].Bits % 16 != 0
                || (bias is not null && (bias.dtype != x.dtype || !bias.is_contiguous())))
            {
                return null;
            }

            outputs[i] = weight.size(0);
            outputsOfAll += weight.size(0);
        }

        long rows = tokens <= Tile ? RowsOfOneTile : RowsOfTwoTiles;
        rows *= outputsOfAll < BlocksPerProcessor * 2 * rows * _program.Processors ? 1 : 2;
        for (int i = 0; i < projections.Length; i++)
        {
            blocks += (projections[i].Weight.size(0) + rows - 1) / rows;
            results[i] = DeviceKernels.EmptyLike(x, projections[i].Weight.size(0));
            weights[(2 * MaxProjections) + i] = results[i];
        }

        string name = (tokens <= Tile, rows) switch
        {
            (true, RowsOfOneTile) => "few_rows_8_by_8",
            (true, _) => "few_rows_8_by_16",
            (false, RowsOfTwoTiles) => "few_rows_16_by_16",
            _ => "few_rows_16_by_32",
        };
        _program.Run(name, 0, (blocks, 1), (Threads, 1), 0, [input, tokens, width, .. weights, .. outputs]);
        return results;
    }

    /// <summary>Whether <see cref="Attend"/> supports a head size: a multiple of 16 bytes, at most 16 bytes per thread of a warp.</summary>
    public bool CanAttend(long size) => size % _program.Packed == 0 && size / _program.Packed <= Warp;

    /// <summary>
    /// Attention of a decode step, <c>[batch, 1, heads x head]</c>: queries and keys are rotary-embedded, keys and values are written to
    /// the cache, and the cache is attended to.
    /// </summary>
    /// <param name="query"><c>[batch, 1, heads x head]</c>.</param>
    /// <param name="key"><c>[batch, 1, key-value heads x head]</c>.</param>
    /// <param name="value"><c>[batch, 1, key-value heads x head]</c>.</param>
    /// <param name="rotary">Cosine and sine of all positions, <c>[positions, dimensions]</c>; null for no rotary embedding.</param>
    /// <param name="padding">The leading positions of each row that are masked and not counted, <c>[batch]</c>, int32; null for
    /// none.</param>
    /// <param name="cache">The cache's keys and values, <c>[batch, key-value heads, capacity, head]</c> each.</param>
    /// <param name="seen">The number of positions that are attended to; the last one is this step's.</param>
    /// <param name="place">The tensor that has this number instead, <c>[1]</c>, int32; null where it is given.</param>
    public Tensor Attend(
        Tensor query, Tensor key, Tensor value, (Tensor Cosine, Tensor Sine)? rotary, Tensor? padding, (Tensor Key, Tensor Value) cache,
            long seen, Tensor? place)
    {
        long size = cache.Key.size(3), groups = cache.Key.size(1), batch = query.size(0), heads = query.size(-1) / size,
            blocks = batch * heads;

        // By the capacity: a captured graph has one launch for every number of positions, and all give the same bytes.
        long max = Math.Min(MaxSplits, (cache.Key.size(2) + MinSplitLength - 1) / MinSplitLength);
        long splits = blocks > MaxCountedHeads ? 1 : Math.Clamp(HeadsPerProcessor * _program.Processors / blocks, 1, max);
        long lanes = (long)BitOperations.RoundUpToPowerOf2((ulong)(size / _program.Packed)), teams = Threads / lanes;
        Tensor result = empty_like(query);
        using Tensor? parts = splits == 1 ? null : empty([blocks, splits, size + 2], ScalarType.Float32, query.device);
        _program.Run(
            "attend_one", 0, (blocks, splits), (Threads, 1), size + (teams * (size + 2)),
            query, key, value, rotary?.Cosine, rotary?.Sine, padding, place, cache.Key, cache.Value, result, parts,
            heads, heads / groups, size, lanes, rotary?.Cosine.size(-1) ?? 0, seen, cache.Key.stride(0), cache.Key.stride(1),
                (float)(1 / Math.Sqrt(size)));
        return result;
    }
}
