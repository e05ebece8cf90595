using System.Buffers.Binary;

namespace DispLlm.Checkpoints;

/// <summary>
/// A safetensors file, open for reading: a header that describes each of its bytes exactly once, and the bytes. Safe from several threads,
/// as <see cref="WeightsFile"/> is.
/// </summary>
public sealed class SafetensorsFile : WeightsFile
{
    private SafetensorsFile(string path, FileStream stream, SafetensorsHeader header, long dataOffset)
        : base(path, stream, header.Tensors, dataOffset)
    {
        Metadata = header.Metadata;
    }

    /// <summary>The texts that the file holds beside its tensors, such as <c>format</c>; often empty.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks that its header describes each of its bytes exactly once.</summary>
    /// <param name="path">Path of the file.</param>
    /// <exception cref="CheckpointException">There is no such file, it cannot be read, or it breaks the format.</exception>
    public static SafetensorsFile Open(string path) => Open(path, (stream, full) =>
    {
        var header = ReadHeader(stream, full, out long dataOffset);
        return new SafetensorsFile(full, stream, header, dataOffset);
    });

    private static SafetensorsHeader ReadHeader(FileStream stream, string path, out long dataOffset)
    {
        long length = stream.Length;
        if (length < 8)
        {
            throw new CheckpointException(
                path, null, $"the file has {length} bytes; a safetensors file has at least 8. It is cut short: fetch it again.");
        }

        Span<byte> start = stackalloc byte[32];
        start = start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
        if (GitLfsPointer.IsPointer(start))
        {
            throw new CheckpointException(path, null, GitLfsPointer.Remedy("weights"));
        }

        ulong headerLength = BinaryPrimitives.ReadUInt64LittleEndian(start);
        if (headerLength > SafetensorsHeader.LongestHeader)
        {
            throw new CheckpointException(
                path,
                null,
                $"the header's length is given as {headerLength} bytes, above the format's {SafetensorsHeader.LongestHeader}. This is "
                    + "not a safetensors file, or it is damaged.");
        }

        if ((long)headerLength > length - 8)
        {
            throw new CheckpointException(
                path, null, $"the header's length is given as {headerLength} bytes, but {length - 8} follow. The file is cut short: "
                    + "fetch it again.");
        }

        byte[] json = new byte[headerLength];
        stream.Position = 8;
        stream.ReadExactly(json);
        dataOffset = 8 + (long)headerLength;
        return SafetensorsHeader.Parse(json, length - dataOffset, path);
    }
}
