using System.Runtime.InteropServices;

namespace DispLlm;

/// <summary>
/// One tensor on its way from the dense checkpoint to the pruned one. Kept rows are copied as they lie; kept columns are gathered from each
/// row as it passes. It moves bytes and computes nothing, so what stays is the same to the bit, whatever the type; and it holds
/// one buffer, however large the tensor is.
/// </summary>
internal sealed class TensorCut
{
    private const int BufferBytes = 1 << 20;

    private readonly IReadOnlyList<int>? _rows;
    private readonly int[]? _columns;

    private TensorCut(IReadOnlyList<int>? rows, IReadOnlyList<int>? columns)
    {
        _rows = rows;
        _columns = columns?.ToArray();
    }

    /// <summary>The cut of a tensor, by what its block keeps; everything stays where either is null.</summary>
    public static TensorCut Of(WeightSlot? slot, BlockSelection? selection)
    {
        if (slot is null || selection is null)
        {
            return new TensorCut(null, null);
        }

        var cuts = WeightCuts.Of(slot.Role);
        return new TensorCut(
            cuts.Rows is { } rows ? selection[rows] : null,
            cuts.Columns is { } columns && !slot.IsBias ? selection[columns] : null);
    }

    /// <summary>Streams what stays of a tensor into a file.</summary>
    public void Stream(CheckpointFolder source, TensorInfo info, SafetensorsWriter target, CancellationToken cancellation)
    {
        int element = (int)(info.ByteCount / Math.Max(1, info.Elements));
        long rowBytes = info.Shape.Skip(1).Aggregate((long)element, (product, size) => product * size);
        if (_columns is null)
        {
            foreach (var (first, count) in Runs(info.Shape.Count == 0 ? 1 : info.Shape[0]))
            {
                Copy(source, info.Name, first * rowBytes, count * rowBytes, target, cancellation);
            }

            return;
        }

        byte[] buffer = new byte[Math.Max(BufferBytes, _columns.Length * element)];
        int filled = 0;
        foreach (var (first, count) in Runs(info.Shape[0]))
        {
            for (long row = first; row < first + count; row++)
            {
                if (filled + _columns.Length * element > buffer.Length)
                {
                    cancellation.ThrowIfCancellationRequested();
                    target.Write(info.Name, buffer.AsSpan(0, filled));
                    filled = 0;
                }

                Gather(source.Bytes(info.Name, row * rowBytes, (int)rowBytes), buffer.AsSpan(filled), element);
                filled += _columns.Length * element;
            }
        }

        target.Write(info.Name, buffer.AsSpan(0, filled));
    }

    private static void Copy(CheckpointFolder source, string name, long offset, long bytes, SafetensorsWriter target, CancellationToken cancellation)
    {
        for (long done = 0; done < bytes; done += BufferBytes)
        {
            cancellation.ThrowIfCancellationRequested();
            target.Write(name, source.Bytes(name, offset + done, (int)Math.Min(BufferBytes, bytes - done)));
        }
    }

    private void Gather(ReadOnlySpan<byte> row, Span<byte> kept, int element)
    {
        switch (element)
        {
            case 2:
                Gather(MemoryMarshal.Cast<byte, ushort>(row), MemoryMarshal.Cast<byte, ushort>(kept));
                break;
            case 4:
                Gather(MemoryMarshal.Cast<byte, uint>(row), MemoryMarshal.Cast<byte, uint>(kept));
                break;
            case 8:
                Gather(MemoryMarshal.Cast<byte, ulong>(row), MemoryMarshal.Cast<byte, ulong>(kept));
                break;
            default:
                Gather(row, kept);
                break;
        }
    }

    private void Gather<T>(ReadOnlySpan<T> row, Span<T> kept)
    {
        for (int i = 0; i < _columns!.Length; i++)
        {
            kept[i] = row[_columns[i]];
        }
    }

    /// <summary>Kept rows as runs of neighbours, which are copied at once.</summary>
    private IEnumerable<(long First, long Count)> Runs(long rows)
    {
        if (_rows is null)
        {
            yield return (0, rows);
            yield break;
        }

        for (int start = 0; start < _rows.Count;)
        {
            int end = start + 1;
            while (end < _rows.Count && _rows[end] == _rows[end - 1] + 1)
            {
                end++;
            }

            yield return (_rows[start], end - start);
            start = end;
        }
    }
}
