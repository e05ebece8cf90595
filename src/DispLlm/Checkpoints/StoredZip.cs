using System.Text;
using System.Text.Unicode;
using static System.Buffers.Binary.BinaryPrimitives;

namespace DispLlm.Checkpoints;

/// <summary>
/// The directory of a zip archive whose entries are not compressed, so that each is a range of the file that can be mapped.
/// System.IO.Compression does not give the ranges. Everything is checked: each range is within the file, and no two overlap.
/// </summary>
internal sealed class StoredZip
{
    private const uint LocalSignature = 0x04034b50, EntrySignature = 0x02014b50, EndSignature = 0x06054b50;
    private const uint End64Signature = 0x06064b50, Locator64Signature = 0x07064b50;
    private const int LocalLength = 30, EntryLength = 46, EndLength = 22, End64Length = 56, Locator64Length = 20;
    private const int LongestComment = ushort.MaxValue;
    private const int LongestDirectory = 64 << 20;
    private const int Encrypted = 1 | 1 << 6 | 1 << 13;

    private readonly FileStream _stream;
    private readonly string _file;
    private readonly Dictionary<string, Range> _entries = new(StringComparer.Ordinal);

    private StoredZip(FileStream stream, string file)
    {
        _stream = stream;
        _file = file;
    }

    /// <summary>Names of the entries, with their folders.</summary>
    public IReadOnlyCollection<string> Names => _entries.Keys;

    /// <summary>Reads and checks the directory of an archive.</summary>
    /// <exception cref="CheckpointException">
    /// This is no zip archive, it is damaged, or an entry is compressed, encrypted, or named so that it leaves the archive.
    /// </exception>
    public static StoredZip Read(FileStream stream, string file)
    {
        var zip = new StoredZip(stream, file);
        var (offset, size, count) = zip.FindDirectory();
        zip.ReadDirectory(zip.ReadAt(offset, (int)size), offset, count);
        return zip;
    }

    /// <summary>Where an entry's bytes are in the file, or null if there is no such entry.</summary>
    public Range? Find(string name) => _entries.TryGetValue(name, out var range) ? range : null;

    /// <summary>Reads an entry that must not be longer than a limit.</summary>
    public byte[] ReadAll(string name, Range range, int longest) => range.Length <= longest
        ? ReadAt(range.Offset, (int)range.Length)
        : throw new CheckpointException(
            _file, name,
            $"this entry of the archive has {range.Length} bytes, and {longest} at most are read. The file is damaged, or not what its "
                + "name says.");

    private (long Offset, long Size, long Count) FindDirectory()
    {
        long length = _stream.Length;
        long tailAt = Math.Max(0, length - EndLength - LongestComment);
        byte[] tail = ReadAt(tailAt, (int)(length - tailAt));
        int at = tail.Length - EndLength;
        while (at >= 0
            && (ReadUInt32LittleEndian(tail.AsSpan(at)) != EndSignature
                || ReadUInt16LittleEndian(tail.AsSpan(at + 20)) != tail.Length - at - EndLength))
        {
            at--;
        }

        if (at < 0)
        {
            throw new CheckpointException(_file, null, "the zip directory at the end is missing. The file is cut short: fetch it again.");
        }

        long end = tailAt + at;
        ulong count = ReadUInt16LittleEndian(tail.AsSpan(at + 10));
        ulong size = ReadUInt32LittleEndian(tail.AsSpan(at + 12)), offset = ReadUInt32LittleEndian(tail.AsSpan(at + 16));
        byte[] locator = end < Locator64Length ? [] : ReadAt(end - Locator64Length, Locator64Length);
        if (locator.Length > 0 && ReadUInt32LittleEndian(locator) == Locator64Signature)
        {
            ulong end64 = ReadUInt64LittleEndian(locator.AsSpan(8));
            if (end - Locator64Length < End64Length || end64 > (ulong)(end - Locator64Length - End64Length))
            {
                throw Damaged($"the zip64 directory's end is said to be at byte {end64} of {length}.");
            }

            end = (long)end64;
            byte[] record = ReadAt(end, End64Length);
            if (ReadUInt32LittleEndian(record) != End64Signature)
            {
                throw Damaged($"the zip64 directory's end is not at byte {end}, where it is said to be.");
            }

            count = ReadUInt64LittleEndian(record.AsSpan(32));
            size = ReadUInt64LittleEndian(record.AsSpan(40));
            offset = ReadUInt64LittleEndian(record.AsSpan(48));
        }

        if (offset > (ulong)end || size != (ulong)end - offset || size > LongestDirectory || count > size / EntryLength)
        {
            throw Damaged(
                $"the zip directory is said to have {count} entries in {size} bytes from byte {offset}, which does not fit what ends at "
                    + $"byte {end}.");
        }

        return ((long)offset, (long)size, (long)count);
    }

    private void ReadDirectory(byte[] directory, long directoryAt, long count)
    {
        var extents = new List<(long Begin, long End, string Name)>();
        int at = 0;
        for (long i = 0; i < count; i++)
        {
            var entry = directory.AsSpan(at);
            if (entry.Length < EntryLength || ReadUInt32LittleEndian(entry) != EntrySignature)
            {
                throw Damaged($"entry {i} of the zip directory, at byte {directoryAt + at}, is not one.");
            }

            int nameLength = ReadUInt16LittleEndian(entry[28..]), extraLength = ReadUInt16LittleEndian(entry[30..]);
            int length = EntryLength + nameLength + extraLength + ReadUInt16LittleEndian(entry[32..]);
            if (length > entry.Length)
            {
                throw Damaged($"entry {i} of the zip directory, at byte {directoryAt + at}, is longer than the directory.");
            }

            var nameBytes = entry.Slice(EntryLength, nameLength);
            string name = ReadName(nameBytes, i);
            CheckStored(entry, name);
            var (header, size) = PlaceOf(entry[..EntryLength], entry.Slice(EntryLength + nameLength, extraLength), name);
            long begin = FindData(name, nameBytes, header, size, directoryAt);
            if (!_entries.TryAdd(name, new Range(begin, (long)size)))
            {
                throw new CheckpointException(
                    _file, name, "the zip directory names this entry twice; which one counts is undefined. Do not trust this file.");
            }

            extents.Add(((long)header, begin + (long)size, name));
            at += length;
        }

        if (at != directory.Length)
        {
            throw Damaged($"the zip directory's {count} entries take {at} of its {directory.Length} bytes.");
        }

        extents.Sort();
        foreach (var (before, next) in extents.Zip(extents.Skip(1)))
        {
            if (next.Begin < before.End)
            {
                throw new CheckpointException(
                    _file, next.Name,
                    $"this entry of the archive overlaps {CheckpointException.Quote(before.Name)}. Do not trust this file.");
            }
        }
    }

    private string ReadName(ReadOnlySpan<byte> bytes, long index)
    {
        if (!Utf8.IsValid(bytes))
        {
            throw Damaged($"the name of entry {index} of the zip directory is not valid UTF-8.");
        }

        string name = Encoding.UTF8.GetString(bytes);
        bool leaves = name.Length == 0 || name[0] == '/' || name.AsSpan().IndexOfAny("\\:\0") >= 0
            || name.Split('/').Any(part => part is "." or "..");
        return leaves
            ? throw new CheckpointException(_file, name, "the name of this entry leaves the archive. Do not trust this file.")
            : name;
    }

    private void CheckStored(ReadOnlySpan<byte> entry, string name)
    {
        if ((ReadUInt16LittleEndian(entry[8..]) & Encrypted) != 0)
        {
            throw new CheckpointException(_file, name, "this entry of the archive is encrypted, which PyTorch never does.");
        }

        if (ReadUInt16LittleEndian(entry[10..]) is var method and not 0)
        {
            throw new CheckpointException(
                _file, name, $"this entry of the archive is compressed (method {method}). PyTorch stores; write the file anew with "
                    + "torch.save(torch.load(file, weights_only=True), file).");
        }
    }

    /// <summary>
    /// An entry's local header and size; what does not fit 32 bits is in the zip64 field, in this order: size, stored size, header.
    /// </summary>
    private (ulong Header, ulong Size) PlaceOf(ReadOnlySpan<byte> entry, ReadOnlySpan<byte> extra, string name)
    {
        ulong stored = ReadUInt32LittleEndian(entry[20..]), size = ReadUInt32LittleEndian(entry[24..]);
        ulong header = ReadUInt32LittleEndian(entry[42..]);
        bool wide = stored == uint.MaxValue || size == uint.MaxValue || header == uint.MaxValue;
        while (wide && extra.Length >= 4)
        {
            int kind = ReadUInt16LittleEndian(extra), length = ReadUInt16LittleEndian(extra[2..]);
            extra = extra[4..];
            if (length > extra.Length)
            {
                break;
            }

            if (kind == 1)
            {
                var field = extra[..length];
                wide = !(Widen(ref size, ref field) && Widen(ref stored, ref field) && Widen(ref header, ref field));
                break;
            }

            extra = extra[length..];
        }

        return wide || stored != size
            ? throw CheckpointException.Damaged(
                _file, name,
                $"the zip directory gives this entry {size} bytes, {stored} of them stored, from byte {header}: one of them is wrong.")
            : (header, size);
    }

    private static bool Widen(ref ulong value, ref ReadOnlySpan<byte> field)
    {
        if (value != uint.MaxValue)
        {
            return true;
        }

        if (field.Length < 8)
        {
            return false;
        }

        value = ReadUInt64LittleEndian(field);
        field = field[8..];
        return true;
    }

    /// <summary>
    /// An entry's first byte. Only its local header says it: the padding by which PyTorch aligns storages is not in the directory.
    /// </summary>
    private long FindData(string name, ReadOnlySpan<byte> nameBytes, ulong header, ulong size, long directoryAt)
    {
        if (header > (ulong)directoryAt || (ulong)directoryAt - header < (ulong)(LocalLength + nameBytes.Length))
        {
            throw Misplaced(name, header, size, directoryAt);
        }

        byte[] local = ReadAt((long)header, LocalLength + nameBytes.Length);
        bool same = ReadUInt32LittleEndian(local) == LocalSignature
            && ReadUInt16LittleEndian(local.AsSpan(8)) == 0
            && ReadUInt16LittleEndian(local.AsSpan(26)) == nameBytes.Length
            && nameBytes.SequenceEqual(local.AsSpan(LocalLength));
        if (!same)
        {
            throw CheckpointException.Damaged(
                _file, name, $"at byte {header}, where the zip directory says that this entry is, there is another or none.");
        }

        long begin = (long)header + local.Length + ReadUInt16LittleEndian(local.AsSpan(28));
        return begin <= directoryAt && size <= (ulong)(directoryAt - begin) ? begin : throw Misplaced(name, header, size, directoryAt);
    }

    private CheckpointException Misplaced(string name, ulong header, ulong size, long directoryAt) =>
        CheckpointException.Damaged(
            _file, name, $"this entry of {size} bytes from byte {header} reaches into the zip directory at byte {directoryAt}.");

    private CheckpointException Damaged(string message) => CheckpointException.Damaged(_file, null, message);

    private byte[] ReadAt(long offset, int count)
    {
        byte[] bytes = new byte[count];
        for (int read = 0; read < count;)
        {
            int more = RandomAccess.Read(_stream.SafeFileHandle, bytes.AsSpan(read), offset + read);
            read += more > 0 ? more : throw new CheckpointException(_file, null, "the file became shorter while it was read.");
        }

        return bytes;
    }

    /// <summary>The bytes of the file that an entry has.</summary>
    /// <param name="Offset">The first one, counted from the start of the file.</param>
    /// <param name="Length">How many they are.</param>
    public readonly record struct Range(long Offset, long Length);
}
