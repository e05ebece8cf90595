using System.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Kernels of our own for passes of few tokens on a GPU, <c>FewRows.cu</c> and <c>OnePosition.cu</c>: several projections at once, and attention of one position with everything around it.
/// While tokens are written one by one, the device is done with an operator of the framework before the next one arrives.
/// </summary>
internal sealed class CudaDecodeKernels
{
    // Tokens that a matrix unit takes at a time, and how many at most.
    private const long Tile = 8, MostTokens = 16;

    // Rows of weights that a block has, by tokens: the fewest, and twice as many where every processor has enough blocks of those.
    private const long RowsOfOneTile = 8, RowsOfTwoTiles = 16, BlocksEach = 4;

    // Inputs that are read at once, and how many projections one launch has.
    private const long Inputs = 8, MostProjections = 3;

    private const long Threads = 256, Warp = 32;

    // Where a device has fewer heads than this for each of its processors, a head's positions are shared out, in stretches of not less than so many; the kernel counts them for so many heads.
    private const long HeadsEach = 2, LeastStretch = 64, MostStretches = 64, MostCounted = 1024;

    private readonly CudaProgram _program;

    /// <summary>The kernels of a program.</summary>
    public CudaDecodeKernels(CudaProgram program) => _program = program;

    /// <summary>The kernels for tensors outside any gradient; null where there are none.</summary>
    public static CudaDecodeKernels? For(params ReadOnlySpan<Tensor> tensors) =>
        CudaProgram.For(tensors) is { } program && !RowKernels.AnyHasGradient(tensors) ? new CudaDecodeKernels(program) : null;

    /// <summary>Several projections of the same few tokens, <c>[..., in]</c> in bfloat16; null where they are others than the kernel takes.</summary>
    public Tensor[]? Project(Tensor x, ReadOnlySpan<(Tensor Weight, Tensor? Bias)> projections)
    {
        long width = x.size(-1);
        if (x.dtype != ScalarType.BFloat16 || width == 0 || width % Inputs != 0 || x.numel() > MostTokens * width || projections.Length > MostProjections)
        {
            return null;
        }

        long tokens = x.numel() / width, outputsOfAll = 0, blocks = 0;
        var weights = new CudaArgument[3 * MostProjections];
        var outputs = new CudaArgument[MostProjections];
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
            weights[MostProjections + i] = bias;
            if (!weight.is_contiguous() || weight.dtype != x.dtype || weights[i].Bits % 16 != 0 || (bias is not null && (bias.dtype != x.dtype || !bias.is_contiguous())))
            {
                return null;
            }

            outputs[i] = weight.size(0);
            outputsOfAll += weight.size(0);
        }

        long rows = tokens <= Tile ? RowsOfOneTile : RowsOfTwoTiles;
        rows *= outputsOfAll < BlocksEach * 2 * rows * _program.Processors ? 1 : 2;
        for (int i = 0; i < projections.Length; i++)
        {
            blocks += (projections[i].Weight.size(0) + rows - 1) / rows;
            results[i] = DeviceKernels.EmptyLike(x, projections[i].Weight.size(0));
            weights[(2 * MostProjections) + i] = results[i];
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

    /// <summary>Whether <see cref="Attend"/> takes heads of a size: so many times 16 bytes that a warp has them in hand.</summary>
    public bool CanAttend(long size) => size % _program.Packed == 0 && size / _program.Packed <= Warp;

    /// <summary>
    /// Attention of one position, from what projections wrote to what the output projection reads, <c>[batch, 1, heads x head]</c>: queries and keys are turned, keys and values put into the
    /// cache, and attended to.
    /// </summary>
    /// <param name="query"><c>[batch, 1, heads x head]</c>.</param>
    /// <param name="key"><c>[batch, 1, key-value heads x head]</c>.</param>
    /// <param name="value"><c>[batch, 1, key-value heads x head]</c>.</param>
    /// <param name="turns">Cosine and sine of all positions from the first one on, <c>[positions, dimensions]</c>; null for no turn.</param>
    /// <param name="padding">Positions in front of each row that are seen by none but themselves, and do not count, <c>[batch]</c>, int32; null for none.</param>
    /// <param name="held">The cache's keys and values, <c>[batch, key-value heads, capacity, head]</c> each.</param>
    /// <param name="seen">How many positions are seen: the last of them is this one.</param>
    /// <param name="place">Where that number lies instead, <c>[1]</c>, int32; null where it is given.</param>
    public Tensor Attend(
        Tensor query, Tensor key, Tensor value, (Tensor Cosine, Tensor Sine)? turns, Tensor? padding, (Tensor Key, Tensor Value) held, long seen, Tensor? place)
    {
        long size = held.Key.size(3), groups = held.Key.size(1), batch = query.size(0), heads = query.size(-1) / size, blocks = batch * heads;

        // By what there is room for: a recorded pass has one launch for every number of positions, and all of them give the same bytes.
        long most = Math.Min(MostStretches, (held.Key.size(2) + LeastStretch - 1) / LeastStretch);
        long stretches = blocks > MostCounted ? 1 : Math.Clamp(HeadsEach * _program.Processors / blocks, 1, most);
        long lanes = (long)BitOperations.RoundUpToPowerOf2((ulong)(size / _program.Packed)), teams = Threads / lanes;
        Tensor result = empty_like(query);
        using Tensor? parts = stretches == 1 ? null : empty([blocks, stretches, size + 2], ScalarType.Float32, query.device);
        _program.Run(
            "attend_one", 0, (blocks, stretches), (Threads, 1), size + (teams * (size + 2)),
            query, key, value, turns?.Cosine, turns?.Sine, padding, place, held.Key, held.Value, result, parts,
            heads, heads / groups, size, lanes, turns?.Cosine.size(-1) ?? 0, seen, held.Key.stride(0), held.Key.stride(1), (float)(1 / Math.Sqrt(size)));
        return result;
    }
}
