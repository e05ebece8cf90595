using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Win32.SafeHandles;

namespace DispLlm.Checkpoints;

/// <summary>
/// A file that appears whole or not at all. It is written beside its target under another name, flushed to the disk, and renamed over the
/// target by <see cref="Complete"/>. A run that is killed before leaves the old file and at most one <c>*.part</c> file, which the next
/// writer of the target removes. Not thread-safe.
/// </summary>
internal sealed class AtomicFile : IDisposable
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, NewLine = "\n" };

    private readonly string _temporary;
    private readonly FileStream _stream;
    private readonly SafeFileHandle _handle;
    private Task _flush = Task.CompletedTask;
    private bool _closed;

    /// <summary>Begins a file.</summary>
    /// <param name="path">Path of the target; its folder must exist. A link is followed.</param>
    public AtomicFile(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        Target = PartialPath.Resolve(path);
        PartialPath.RemoveAbandoned(Target);
        _temporary = PartialPath.Create(Target);
        _stream = new FileStream(_temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);

        // Read once, before anything is written: the property flushes the stream's buffer, which only the thread that fills it may do.
        _handle = _stream.SafeFileHandle;
    }

    /// <summary>Full path of the target.</summary>
    public string Target { get; }

    /// <summary>What is written here becomes the file.</summary>
    public Stream Stream => _stream;

    /// <summary>Appends bytes.</summary>
    /// <exception cref="IOException">The disk is full, or the file system takes no file as large.</exception>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _stream.Write(bytes);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // What .NET makes of the system's word for it.
            throw new IOException($"{Target}: the file system takes no file as large as this. Write to another disk.", e);
        }
    }

    /// <summary>
    /// Starts to flush what is written so far to the disk, on another thread, unless a flush is running. An operating system keeps
    /// gigabytes in its cache before it starts by itself; then everything waits for the disk at the end.
    /// </summary>
    public void FlushAhead()
    {
        if (_flush.IsCompletedSuccessfully)
        {
            _flush = Task.Run(() => RandomAccess.FlushToDisk(_handle));
        }
    }

    /// <summary>Replaces the target by the file. The bytes are on the disk before the name is.</summary>
    public void Complete()
    {
        ObjectDisposedException.ThrowIf(_closed, this);

        // A disk may report an error only once, so that one of an earlier flush counts.
        _flush.GetAwaiter().GetResult();
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
        File.Move(_temporary, Target, overwrite: true);
        _closed = true;
    }

    /// <summary>Deletes the file, unless it was completed.</summary>
    public void Dispose()
    {
        if (_closed)
        {
            return;
        }

        _closed = true;
        Task.WaitAny(_flush);
        try
        {
            _stream.Dispose();
        }
        finally
        {
            // Closing flushes, which fails on a full disk; the file is deleted even then.
            File.Delete(_temporary);
        }
    }

    /// <summary>Writes a whole file.</summary>
    public static void Write(string path, ReadOnlySpan<byte> bytes)
    {
        using var file = new AtomicFile(path);
        file.Stream.Write(bytes);
        file.Complete();
    }

    /// <summary>Writes a whole file of UTF-8 text without a byte order mark.</summary>
    public static void Write(string path, string text) => Write(path, Encoding.UTF8.GetBytes(text).AsSpan());

    /// <summary>Writes a whole file of indented JSON.</summary>
    public static void Write(string path, JsonObject json) => Write(path, json.ToJsonString(s_indented) + "\n");

    /// <summary>Writes a whole file through a stream; if <paramref name="write"/> throws, the old file is kept.</summary>
    public static void Write(string path, Action<Stream> write)
    {
        using var file = new AtomicFile(path);
        write(file.Stream);
        file.Complete();
    }

    /// <summary>Copies a file; <paramref name="source"/> may be a link, the copy is not.</summary>
    public static void Copy(string source, string path)
    {
        using var from = File.OpenRead(source);
        Write(path, from.CopyTo);
    }
}
