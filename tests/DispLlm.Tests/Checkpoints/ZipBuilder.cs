using System.Text;

namespace DispLlm.Tests.Checkpoints;

/// <summary>Writes zip archives as PyTorch does, storages aligned to 64 bytes, and others.</summary>
internal sealed class ZipBuilder
{
    private const uint Big = uint.MaxValue;

    private readonly List<Entry> _entries = [];

    /// <summary>Whether sizes and places stand in the zip64 records, and 0xFFFFFFFF where they would stand.</summary>
    public bool Zip64 { get; init; }

    /// <summary>An archive's comment at its end.</summary>
    public string Comment { get; init; } = "";

    /// <summary>A checkpoint: a pickle, and the storages from <c>data/0</c> on.</summary>
    public static ZipBuilder Checkpoint(byte[] pickle, params byte[][] storages) => new ZipBuilder().With(pickle, storages);

    public ZipBuilder With(byte[] pickle, params byte[][] storages)
    {
        Add("archive/data.pkl", pickle).Add("archive/byteorder", "little"u8.ToArray());
        for (int i = 0; i < storages.Length; i++)
        {
            Add($"archive/data/{i}", storages[i]);
        }

        return Add("archive/version", "3\n"u8.ToArray());
    }

    public ZipBuilder Add(
        string name,
        byte[] bytes,
        ushort method = 0,
        ushort flags = 0x808,
        string? localName = null,
        long? storedSize = null,
        long? header = null)
    {
        _entries.Add(new Entry(name, 0, bytes, method, flags, localName ?? name, storedSize ?? bytes.Length, header));
        return this;
    }

    /// <summary>Adds an entry that begins with a hole: it takes no space where sparse files are supported.</summary>
    public ZipBuilder AddSparse(string name, long hole, byte[] bytes)
    {
        _entries.Add(new Entry(name, hole, bytes, 0, 0x808, name, hole + bytes.Length, null));
        return this;
    }

    public byte[] ToArray()
    {
        using var stream = new MemoryStream();
        WriteTo(stream);
        return stream.ToArray();
    }

    public void WriteTo(Stream stream)
    {
        using var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true);
        long[] headers = [.. _entries.Select(entry => WriteLocal(writer, entry))];
        long directory = stream.Position;
        foreach (var (entry, header) in _entries.Zip(headers))
        {
            WriteEntry(writer, entry, entry.Header ?? header);
        }

        WriteEnd(writer, directory, stream.Position - directory);
    }

    private static long WriteLocal(BinaryWriter writer, Entry entry)
    {
        long header = writer.BaseStream.Position;
        byte[] name = Encoding.UTF8.GetBytes(entry.LocalName);
        int padding = (int)(64 - ((header + 30 + name.Length) % 64));
        writer.Write("PK\x03\x04"u8);
        writer.Write((ushort)0);
        writer.Write(entry.Flags);
        writer.Write(entry.Method);
        writer.Write(new byte[16]); // times, and the sizes that follow the data
        writer.Write((ushort)name.Length);
        writer.Write((ushort)padding);
        writer.Write(name);
        writer.Write(new byte[padding]);
        writer.BaseStream.Position += entry.Hole;
        writer.Write(entry.Bytes);
        writer.Write("PK\x07\x08"u8);
        writer.Write(new byte[12]);
        return header;
    }

    private void WriteEntry(BinaryWriter writer, Entry entry, long header)
    {
        byte[] name = Encoding.UTF8.GetBytes(entry.Name);
        writer.Write("PK\x01\x02"u8);
        writer.Write(0);
        writer.Write(entry.Flags);
        writer.Write(entry.Method);
        writer.Write(new byte[8]);
        writer.Write(Zip64 ? Big : (uint)entry.StoredSize);
        writer.Write(Zip64 ? Big : (uint)entry.Size);
        writer.Write((ushort)name.Length);
        writer.Write((ushort)(Zip64 ? 33 : 0));
        writer.Write(new byte[10]);
        writer.Write(Zip64 ? Big : (uint)header);
        writer.Write(name);
        if (Zip64)
        {
            writer.Write((ushort)0x5455); // another field before it, as some writers have
            writer.Write((ushort)1);
            writer.Write((byte)0);
            writer.Write((ushort)1);
            writer.Write((ushort)24);
            writer.Write(entry.Size);
            writer.Write(entry.StoredSize);
            writer.Write(header);
        }
    }

    private void WriteEnd(BinaryWriter writer, long directory, long size)
    {
        long end = writer.BaseStream.Position;
        if (Zip64)
        {
            writer.Write("PK\x06\x06"u8);
            writer.Write(44L);
            writer.Write(new byte[12]);
            writer.Write((long)_entries.Count);
            writer.Write((long)_entries.Count);
            writer.Write(size);
            writer.Write(directory);
            writer.Write("PK\x06\x07"u8);
            writer.Write(0);
            writer.Write(end);
            writer.Write(1);
        }

        writer.Write("PK\x05\x06"u8);
        writer.Write(0);
        writer.Write(Zip64 ? ushort.MaxValue : (ushort)_entries.Count);
        writer.Write(Zip64 ? ushort.MaxValue : (ushort)_entries.Count);
        writer.Write(Zip64 ? Big : (uint)size);
        writer.Write(Zip64 ? Big : (uint)directory);
        writer.Write((ushort)Comment.Length);
        writer.Write(Encoding.Latin1.GetBytes(Comment));
    }

    private sealed record Entry(
        string Name, long Hole, byte[] Bytes, ushort Method, ushort Flags, string LocalName, long StoredSize, long? Header)
    {
        public long Size => Hole + Bytes.Length;
    }
}
