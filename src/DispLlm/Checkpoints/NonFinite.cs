using System.Numerics;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// Looks for NaN and infinity among stored weights. One of them makes every number that is computed from it NaN, without a word about where
/// it came from.
/// </summary>
internal static class NonFinite
{
    /// <summary>The error for a weight that holds one.</summary>
    /// <param name="file">Its file or folder.</param>
    /// <param name="weight">Its name.</param>
    public static CheckpointException Error(string file, string weight) => new(
        file, weight,
        "the weight holds NaN or infinity, from which nothing can be computed. The file is damaged, or its training diverged: fetch it "
            + "again, or take another checkpoint.");

    /// <summary>Whether a piece of a weight holds one.</summary>
    /// <param name="bytes">The piece: whole elements, little-endian.</param>
    /// <param name="type">Type of the elements; one that is no floating-point number holds none.</param>
    public static bool IsIn(ReadOnlySpan<byte> bytes, ScalarType type) => type switch
    {
        ScalarType.Float64 => IsIn<ulong>(bytes, 0x7FF0_0000_0000_0000),
        ScalarType.Float32 => IsIn<uint>(bytes, 0x7F80_0000),
        ScalarType.Float16 => IsIn<ushort>(bytes, 0x7C00),
        ScalarType.BFloat16 => IsIn<ushort>(bytes, 0x7F80),
        _ => false,
    };

    /// <summary>Whether the exponent of any number is all ones, as it is in NaN and infinity.</summary>
    private static bool IsIn<T>(ReadOnlySpan<byte> bytes, T exponent)
        where T : unmanaged, IBinaryInteger<T>
    {
        var numbers = MemoryMarshal.Cast<byte, T>(bytes);
        var vectors = MemoryMarshal.Cast<T, Vector<T>>(numbers);
        var wanted = new Vector<T>(exponent);
        foreach (var vector in vectors)
        {
            if (Vector.EqualsAny(vector & wanted, wanted))
            {
                return true;
            }
        }

        foreach (T number in numbers[(vectors.Length * Vector<T>.Count)..])
        {
            if ((number & exponent) == exponent)
            {
                return true;
            }
        }

        return false;
    }
}
