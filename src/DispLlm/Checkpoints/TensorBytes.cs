using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>A native tensor's memory, in pieces that fit a span, which ends at 2 GB.</summary>
internal static class TensorBytes
{
    /// <summary>A piece's largest size, in bytes. Small enough for two at a time, large enough that its overhead is negligible.</summary>
    private const long Piece = 64 << 20;

    /// <summary>Receives a piece of a tensor's memory.</summary>
    /// <param name="bytes">The piece, valid until the call returns.</param>
    /// <param name="offset">Where it begins in the tensor, in bytes.</param>
    public delegate void Visitor(Span<byte> bytes, long offset);

    /// <summary>Visits the memory of a contiguous CPU tensor from its first byte to its last.</summary>
    public static void Visit(Tensor tensor, Visitor visitor, long pieceSize = Piece)
    {
        long size = tensor.ElementSize;
        long elements = tensor.numel();
        if (elements * size <= pieceSize)
        {
            if (elements > 0)
            {
                visitor(tensor.bytes, 0);
            }

            return;
        }

        using var flat = tensor.view(-1);
        long step = Math.Max(1, pieceSize / size);
        for (long first = 0; first < elements; first += step)
        {
            using var piece = flat.narrow(0, first, Math.Min(step, elements - first));
            visitor(piece.bytes, first * size);
        }
    }
}
