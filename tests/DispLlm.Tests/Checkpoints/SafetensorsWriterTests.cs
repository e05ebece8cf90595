using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace DispLlm.Tests.Checkpoints;

public sealed class SafetensorsWriterTests : IDisposable
{
    private static readonly TensorInfo[] Two = [new("a", ScalarType.Float32, [2]), new("b", ScalarType.Byte, [3])];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_file_that_is_not_completed_leaves_what_was_there()
    {
        string path = _folder.Write("model.safetensors", "old");
        using (var writer = SafetensorsWriter.Create(path, Two))
        {
            writer.Write("a", new byte[8]);
            Assert.Equal("old", File.ReadAllText(path));
        }

        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(_folder.FullPath));
    }

    [Fact]
    public void A_completed_file_replaces_the_old_one_while_that_is_still_read()
    {
        string path = _folder["model.safetensors"];
        WriteTwo(path, 1);
        using var old = SafetensorsFile.Open(path);
        WriteTwo(path, 2);
        using var replaced = SafetensorsFile.Open(path);
        Assert.Equal([1, 1, 1], old.Bytes("b").ToArray());
        Assert.Equal([2, 2, 2], replaced.Bytes("b").ToArray());
        Assert.Single(Directory.GetFiles(_folder.FullPath));
    }

    [Fact]
    public void What_is_brought_to_the_disk_ahead_is_what_was_written()
    {
        // Large enough for several flushes ahead, in pieces that never fill the stream's buffer evenly.
        const int Size = 80_000_003;
        string path = _folder["large.safetensors"];
        byte[] piece = new byte[50_021];
        new Random(1).NextBytes(piece);
        TensorInfo[] infos = [.. Enumerable.Range(0, 3).Select(i => new TensorInfo($"t{i}", ScalarType.Byte, [Size]))];
        using (var writer = SafetensorsWriter.Create(path, infos))
        {
            foreach (var info in infos)
            {
                for (int written = 0; written < Size; written += piece.Length)
                {
                    writer.Write(info.Name, piece.AsSpan(0, Math.Min(piece.Length, Size - written)));
                }
            }

            writer.Complete();
        }

        using var file = SafetensorsFile.Open(path);
        byte[] expected = [.. Enumerable.Repeat(piece, (Size / piece.Length) + 1).SelectMany(bytes => bytes).Take(Size)];
        foreach (var info in infos)
        {
            using var scope = NewDisposeScope();
            Assert.True(file.Read(info.Name).data<byte>().ToArray().AsSpan().SequenceEqual(expected));
        }
    }

    [Fact]
    public void Completing_too_early_is_refused_and_names_the_tensor()
    {
        using (var writer = SafetensorsWriter.Create(_folder["f"], Two))
        {
            Assert.Contains("'a'", Assert.Throws<InvalidOperationException>(writer.Complete).Message, StringComparison.Ordinal);
            writer.Write("a", new byte[8]);
            writer.Write("b", new byte[2]);
            Assert.Contains("2 of its 3", Assert.Throws<InvalidOperationException>(writer.Complete).Message, StringComparison.Ordinal);
        }

        Assert.Empty(Directory.GetFiles(_folder.FullPath));
    }

    [Fact]
    public void Tensors_out_of_order_or_not_as_declared_are_refused()
    {
        using var scope = NewDisposeScope();
        using var writer = SafetensorsWriter.Create(_folder["f"], Two);
        Assert.Contains("'a' is", Assert.Throws<ArgumentException>(() => writer.Write("b", new byte[3])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => writer.Write("c", new byte[3]));
        Assert.Contains(
            "F64[2]",
            Assert.Throws<ArgumentException>(() => writer.Write("a", zeros(2, ScalarType.Float64))).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "F32[1, 2]", Assert.Throws<ArgumentException>(() => writer.Write("a", zeros(1, 2))).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => writer.Write("a", new byte[9]));
        writer.Write("a", new byte[4]);
        Assert.Throws<ArgumentException>(() => writer.Write("a", zeros(2)));
        Assert.Throws<ArgumentException>(() => writer.Write("b", new byte[3]));
        writer.Write("a", new byte[4]);
        Assert.Throws<ArgumentException>(() => writer.Write("a", new byte[1]));
        writer.Write("b", tensor(new byte[] { 1, 2, 3 }));
        writer.Complete();
        Assert.Throws<ObjectDisposedException>(() => writer.Write("b", new byte[1]));
        Assert.Throws<ObjectDisposedException>(writer.Complete);
        using var file = SafetensorsFile.Open(_folder["f"]);
        Assert.Equal([1, 2, 3], file.Bytes("b").ToArray());
    }

    [Fact]
    public void Declarations_that_cannot_be_stored_are_refused_before_a_file_is_begun()
    {
        Refused(new TensorInfo("", ScalarType.Byte, []));
        Refused(new TensorInfo("__metadata__", ScalarType.Byte, []));
        Refused(new TensorInfo("a", ScalarType.ComplexFloat32, [1]));
        Refused(new TensorInfo("a", ScalarType.Byte, [-1]));
        Refused(new TensorInfo("a", ScalarType.Float64, [long.MaxValue]));
        Refused(new TensorInfo("a", ScalarType.Byte, [long.MaxValue]), new("b", ScalarType.Byte, [1]));
        Refused(Two[0], Two[0]);
        Assert.Empty(Directory.GetFiles(_folder.FullPath));

        void Refused(params TensorInfo[] tensors) =>
            Assert.ThrowsAny<ArgumentException>(() => SafetensorsWriter.Create(_folder["f"], tensors));
    }

    [Fact]
    public void Parameters_that_want_gradients_are_written()
    {
        using var scope = NewDisposeScope();
        using var writer = SafetensorsWriter.Create(_folder["f"], [Two[0]], new Dictionary<string, string>());
        writer.Write("a", ones(2, requires_grad: true));
        writer.Complete();
        using var file = SafetensorsFile.Open(_folder["f"]);
        Assert.Empty(file.Metadata);
    }

    [Fact]
    public void Atomic_writes_keep_the_old_file_when_they_fail()
    {
        string path = _folder.Write("state.json", "old");
        Assert.Throws<IOException>(() => AtomicFile.Write(path, (Stream stream) =>
        {
            stream.WriteByte(1);
            throw new IOException("disk full");
        }));
        Assert.Equal("old", File.ReadAllText(path));
        AtomicFile.Write(path, "new");
        AtomicFile.Copy(path, _folder["copy"]);
        Assert.Equal("new"u8.ToArray(), File.ReadAllBytes(_folder["copy"]));
        Assert.Equal(2, Directory.GetFiles(_folder.FullPath).Length);

        // A target that cannot be replaced: the temporary goes, too.
        Directory.CreateDirectory(_folder["folder"]);
        Assert.ThrowsAny<Exception>(() => AtomicFile.Write(_folder["folder"], "x"));
        Assert.Equal(2, Directory.GetFiles(_folder.FullPath).Length);
    }

    private static void WriteTwo(string path, byte value)
    {
        using var writer = SafetensorsWriter.Create(path, Two);
        writer.Write("a", new byte[8]);
        writer.Write("b", [value, value, value]);
        writer.Complete();
    }
}
