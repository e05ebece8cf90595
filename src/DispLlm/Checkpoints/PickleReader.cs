using System.Text;
using System.Text.Unicode;

namespace DispLlm.Checkpoints;

/// <summary>Reads the opcodes of a pickle and their operands, and refuses lengths that exceed its bytes.</summary>
/// <param name="pickle">The pickle's bytes.</param>
/// <param name="file">Path of the file, for errors.</param>
/// <param name="entry">The pickle's name in the file, for errors.</param>
internal sealed class PickleReader(byte[] pickle, string file, string entry)
{
    private int _opcodeAt;
    private int _next;

    /// <summary>Bytes that are not read yet.</summary>
    public int Remaining => pickle.Length - _next;

    public PickleOpcode Opcode()
    {
        _opcodeAt = _next;
        return (PickleOpcode)Take(1)[0];
    }

    public ReadOnlySpan<byte> Take(int count)
    {
        if (count > Remaining)
        {
            throw CutShort();
        }

        _next += count;
        return pickle.AsSpan(_next - count, count);
    }

    /// <summary>A length that the pickle gives, once it is known that as many bytes follow.</summary>
    public int Length(ulong length) =>
        length <= (ulong)Remaining ? (int)length : throw Damaged($"{length} bytes are announced, and {Remaining} follow.");

    /// <summary>A signed little-endian integer.</summary>
    public long Integer(uint length)
    {
        var bytes = length <= 8 ? Take((int)length) : throw Damaged($"an integer of {length} bytes is more than any tensor counts.");
        long value = bytes.Length > 0 && (sbyte)bytes[^1] < 0 ? -1 : 0;
        for (int i = bytes.Length - 1; i >= 0; i--)
        {
            value = value << 8 | bytes[i];
        }

        return value;
    }

    public string Text(ulong length)
    {
        var bytes = Take(Length(length));
        return Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw Damaged("a text is not valid UTF-8.");
    }

    public string Line()
    {
        int length = pickle.AsSpan(_next).IndexOf((byte)'\n');
        string line = length >= 0 ? Encoding.Latin1.GetString(Take(length)) : throw CutShort();
        _next++;
        return line;
    }

    public CheckpointException Damaged(string message) => CheckpointException.Damaged(file, entry, $"at byte {_opcodeAt}: {message}");

    public CheckpointException Fault(string message) => new(file, entry, $"at byte {_opcodeAt}: {message}");

    private CheckpointException CutShort() => Damaged($"the pickle ends after {pickle.Length} bytes in the middle of it.");
}
