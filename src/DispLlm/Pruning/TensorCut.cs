using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Prunes one tensor of a checkpoint. It is read from front to back in large pieces; in each, kept rows and columns move to the front and
/// are written from there. Without scales bytes are moved and nothing is computed, so kept weights are the same to the bit, whatever the
/// type. Memory is bounded by the pieces, not by the tensor.
/// </summary>
internal sealed class TensorCut(PrunedSlice slice)
{
    // Large enough that calls and seeks do not count, small enough for the cache between reading and writing.
    private const int PieceBytes = 2 << 20;

    /// <summary>Streams the kept part of a tensor into a file.</summary>
    /// <param name="source">Where the tensor is read.</param>
    /// <param name="info">What it is there.</param>
    /// <param name="name">Its name in the file.</param>
    /// <param name="target">The file.</param>
    /// <param name="cancellation">Looked at between pieces.</param>
    public void Stream(CheckpointFolder source, TensorInfo info, string name, PieceStream target, CancellationToken cancellation)
    {
        int element = SafetensorsType.ByteSize(info.Type);
        if (slice.Scales && !ElementScaling.CanHandle(info.Type))
        {
            throw new CheckpointException(
                source.FolderPath,
                info.Name,
                $"tensor '{info.Name}' is {SafetensorsType.ToName(info.Type)}, which no scale can multiply. Take a checkpoint in F32, F16 "
                    + "or BF16, or a plan without scales.");
        }

        // Without a cut, a row is a number: pieces need not end where rows do.
        bool isCut = slice.Rows is not null || slice.Columns is not null;
        long rows = isCut ? info.Shape[0] : info.Elements, kept = slice.Rows?.Count ?? rows;
        int rowBytes = (int)(isCut ? info.ByteCount / Math.Max(1, rows) : element);
        int rowsOfPiece = Math.Max(1, PieceBytes / Math.Max(1, rowBytes));
        for (long next = 0; next < kept;)
        {
            cancellation.ThrowIfCancellationRequested();
            long begin = next, end = EndOfPiece(begin, rowsOfPiece, kept), first = Row(begin);
            int read = (int)(Row(end - 1) - first + 1) * rowBytes;
            target.Add(name, read, piece =>
            {
                source.ReadBytes(info.Name, first * rowBytes, piece.AsSpan(0, read));
                if (NonFinite.IsIn(piece.AsSpan(0, read), info.Type))
                {
                    throw NonFinite.Error(source.FolderPath, info.Name);
                }

                return isCut ? Keep(piece, begin, end, rowBytes, info.Type) : read;
            });
            next = end;
        }
    }

    private long Row(long kept) => slice.Rows is null ? kept : slice.Rows[(int)kept];

    /// <summary>
    /// The first kept row after those that one piece takes. Removed rows between them are read too: skipping them would cost more.
    /// </summary>
    private long EndOfPiece(long begin, int rowsOfPiece, long kept)
    {
        if (slice.Rows is null)
        {
            return Math.Min(kept, begin + rowsOfPiece);
        }

        long first = Row(begin), end = begin + 1;
        while (end < kept && Row(end) - first < rowsOfPiece)
        {
            end++;
        }

        return end;
    }

    /// <summary>Moves the kept part of a piece to its front. Kept elements only move forward, so nothing unread is overwritten.</summary>
    /// <returns>Number of kept bytes.</returns>
    private int Keep(byte[] piece, long begin, long end, int rowBytes, ScalarType type)
    {
        int filled = 0, element = SafetensorsType.ByteSize(type);
        int keptBytes = slice.Columns is null ? rowBytes : slice.Columns.Length * element;
        long first = Row(begin);
        for (long row = begin; row < end; row++)
        {
            var from = piece.AsSpan((int)(Row(row) - first) * rowBytes, rowBytes);
            var to = piece.AsSpan(filled);
            if (slice.Columns is null)
            {
                from.CopyTo(to);
            }
            else
            {
                Gather(from, to, element);
            }

            if (slice.Scales)
            {
                ElementScaling.Multiply(to[..keptBytes], type, slice.RowScales?[(int)Row(row)] ?? 1, slice.ColumnScales);
            }

            filled += keptBytes;
        }

        return filled;
    }

    private void Gather(Span<byte> row, Span<byte> kept, int element)
    {
        switch (element)
        {
            case 2:
                Gather<ushort>(row, kept);
                break;
            case 4:
                Gather<uint>(row, kept);
                break;
            case 8:
                Gather<ulong>(row, kept);
                break;
            default:
                Gather<byte>(row, kept);
                break;
        }
    }

    private void Gather<T>(Span<byte> row, Span<byte> kept)
        where T : struct
    {
        int[] columns = slice.Columns!;
        if (columns.Length == 0)
        {
            return;
        }

        // Columns are sorted: where the last one is within its row, and all fit into the target, no other needs a bounds check.
        ref T from = ref MemoryMarshal.Cast<byte, T>(row)[..(columns[^1] + 1)][0];
        ref T to = ref MemoryMarshal.Cast<byte, T>(kept)[..columns.Length][0];
        for (int i = 0; i < columns.Length; i++)
        {
            Unsafe.Add(ref to, i) = Unsafe.Add(ref from, columns[i]);
        }
    }
}
