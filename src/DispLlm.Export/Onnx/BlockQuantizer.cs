namespace DispLlm.Export;

/// <summary>
/// Quantizes rows of a matrix in blocks, as the operators MatMulNBits and GatherBlockQuantized read them: <c>w = scale (q - zero)</c>, with
/// unsigned <c>q</c>, two to a byte in 4 bits, the first in the low half. Thread-safe.
/// </summary>
/// <param name="bits">4 or 8.</param>
/// <param name="blockSize">Weights of a block.</param>
/// <param name="columns">Weights of a row; the last block is filled up with zeros.</param>
internal sealed class BlockQuantizer(int bits, int blockSize, int columns)
{
    /// <summary>Blocks of a row.</summary>
    public int Blocks { get; } = (columns + blockSize - 1) / blockSize;

    /// <summary>Bytes of a block.</summary>
    public int BlockBytes { get; } = blockSize * bits / 8;

    /// <summary>
    /// Whether blocks have zero points. In 4 bits they make half a step of difference; in 8 bits the middle of the range serves as well.
    /// </summary>
    public bool HasZeroPoints => bits == 4;

    /// <summary>Bytes of a row's zero points.</summary>
    public int ZeroPointBytes => HasZeroPoints ? (Blocks + 1) / 2 : 0;

    /// <summary>Quantizes a row.</summary>
    /// <param name="row">Its weights.</param>
    /// <param name="quantized">Gets all blocks.</param>
    /// <param name="scales">Gets the scale of each block.</param>
    /// <param name="zeroPoints">Gets the zero points of all blocks, two to a byte; zeros before.</param>
    public void Quantize(ReadOnlySpan<float> row, Span<byte> quantized, Span<float> scales, Span<byte> zeroPoints)
    {
        for (int block = 0; block < Blocks; block++)
        {
            var weights = row[(block * blockSize)..Math.Min(row.Length, (block + 1) * blockSize)];
            var (scale, zero) = HasZeroPoints ? FitRange(weights) : FitLargest(weights);
            scales[block] = scale;
            if (HasZeroPoints)
            {
                zeroPoints[block / 2] |= (byte)(zero << (block % 2 * 4));
            }

            Quantize(weights, scale, zero, quantized.Slice(block * BlockBytes, BlockBytes));
        }
    }

    private void Quantize(ReadOnlySpan<float> weights, float scale, int zero, Span<byte> quantized)
    {
        int most = (1 << bits) - 1;
        float inverse = scale == 0 ? 0 : 1 / scale;
        for (int i = 0; i < blockSize; i++)
        {
            float weight = i < weights.Length ? weights[i] : 0;
            int q = Math.Clamp((int)MathF.Round(weight * inverse) + zero, 0, most);
            if (bits == 8)
            {
                quantized[i] = (byte)q;
            }
            else
            {
                quantized[i / 2] = (byte)(i % 2 == 0 ? q : quantized[i / 2] | (q << 4));
            }
        }
    }

    /// <summary>The scale and the zero point at which the least and the largest weight are the ends of the range.</summary>
    private (float Scale, int Zero) FitRange(ReadOnlySpan<float> weights)
    {
        float least = 0, largest = 0;
        foreach (float weight in weights)
        {
            (least, largest) = (MathF.Min(least, weight), MathF.Max(largest, weight));
        }

        int most = (1 << bits) - 1;
        float scale = (largest - least) / most;
        return scale == 0 ? (0, 0) : (scale, Math.Clamp((int)MathF.Round(-least / scale), 0, most));
    }

    /// <summary>The scale at which the weight of largest magnitude is one end of the range around the middle.</summary>
    private (float Scale, int Zero) FitLargest(ReadOnlySpan<float> weights)
    {
        float largest = 0;
        foreach (float weight in weights)
        {
            largest = MathF.Max(largest, MathF.Abs(weight));
        }

        int middle = 1 << (bits - 1);
        return (largest / (middle - 1), middle);
    }
}
