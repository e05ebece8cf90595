using System.Buffers.Binary;
using CsCheck;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace DispLlm.Tests.Checkpoints;

public sealed class SafetensorsRoundTripTests : IDisposable
{
    private static readonly ScalarType[] Types =
    [
        ScalarType.Float64, ScalarType.Float32, ScalarType.Float16, ScalarType.BFloat16, ScalarType.Int64,
        ScalarType.Int32, ScalarType.Int16, ScalarType.Int8, ScalarType.Byte, ScalarType.Bool,
    ];

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<ScalarType> AllTypes => [.. Types];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(AllTypes))]
    public void Tensors_of_every_type_come_back_as_they_were_and_give_the_same_file_again(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var source = arange(-3, 9, ScalarType.Float32).reshape(3, 4).to(type);
        Dictionary<string, Tensor> tensors =
            new() { ["z"] = source, ["a"] = source.t(), ["scalar"] = source[0, 1], ["none"] = source[..0] };
        WriteAll("first", tensors);

        using var file = SafetensorsFile.Open(_folder["first"]);
        Assert.Equal(["z", "a", "scalar", "none"], file.Tensors.Select(tensor => tensor.Name));
        Assert.Equal("pt", file.Metadata["format"]);
        var read = tensors.Keys.ToDictionary(name => name, name => file.Read(name));
        foreach (var (name, tensor) in read)
        {
            Assert.Equal(type, tensor.dtype);
            Assert.Equal(tensors[name].shape, tensor.shape);
            Assert.True(tensor.equal(tensors[name]).all().item<bool>());
            Assert.Equal(file.Bytes(name), tensor.bytes);
        }

        WriteAll("second", read);
        Assert.Equal(File.ReadAllBytes(_folder["first"]), File.ReadAllBytes(_folder["second"]));
    }

    [Fact]
    public void Any_declared_bytes_come_back_from_a_file_with_an_aligned_header()
    {
        var shape = Gen.Long[0, 5].Array[0, 4];
        var entry = Gen.Select(
            Gen.String[1, 12].Where(name => IsText(name) && name != "__metadata__"), Gen.OneOfConst(Types), shape, Gen.Int);
        int count = 0;
        entry.Array[0, 6].Sample(entries =>
        {
            var tensors = entries.DistinctBy(e => e.Item1).Select(
                e => (Info: new TensorInfo(e.Item1, e.Item2, e.Item3), Seed: e.Item4)).ToList();
            string path = _folder[$"any-{Interlocked.Increment(ref count)}"];
            using (var writer = SafetensorsWriter.Create(path, tensors.Select(t => t.Info)))
            {
                foreach (var (info, seed) in tensors)
                {
                    // In two pieces: a tensor need not be at hand whole.
                    byte[] bytes = Noise(info, seed);
                    writer.Write(info.Name, bytes.AsSpan(0, bytes.Length / 2));
                    writer.Write(info.Name, bytes.AsSpan(bytes.Length / 2));
                }

                writer.Complete();
            }

            Assert.Equal(0UL, BinaryPrimitives.ReadUInt64LittleEndian(File.ReadAllBytes(path)) % 8);
            using var file = SafetensorsFile.Open(path);
            Assert.Equal(tensors.Count, file.Tensors.Count);
            foreach (var (info, seed) in tensors)
            {
                Assert.Equal(info, file.Info(info.Name) with { Offset = 0 });
                Assert.Equal(Noise(info, seed), file.Bytes(info.Name));
            }
        }, iter: 200);
    }

    [Fact]
    public void Reading_converts_moves_and_outlives_the_file()
    {
        using var scope = NewDisposeScope();
        WriteAll("f", new() { ["w"] = tensor(new[] { 1.5f, -2f }) });
        Tensor halves, wide, meta;
        using (var file = SafetensorsFile.Open(_folder["f"]))
        {
            halves = file.Read("w", CPU, ScalarType.BFloat16);
            wide = file.Read("w", type: ScalarType.Float64);
            meta = file.Read("w", META, ScalarType.Float16);
        }

        Assert.Equal(ScalarType.BFloat16, halves.dtype);
        Assert.Equal([1.5, -2.0], wide.data<double>().ToArray());
        Assert.Equal((DeviceType.META, ScalarType.Float16, 2L), (meta.device_type, meta.dtype, meta.shape[0]));
    }

    [Fact]
    public void Reading_leaves_one_tensor_behind_and_no_more()
    {
        using var outer = NewDisposeScope();
        WriteAll("f", new() { ["w"] = ones(8, 8) });
        using var file = SafetensorsFile.Open(_folder["f"]);
        using var scope = NewDisposeScope();
        var tensor = file.Read("w", type: ScalarType.Float16);
        Assert.Equal(1, scope.DisposablesCount);
        Assert.False(tensor.IsInvalid);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(12)]
    [InlineData(1000)]
    public void Memory_is_visited_piece_by_piece_from_first_to_last(long piece)
    {
        using var tensor = arange(30, ScalarType.Int32).reshape(5, 6);
        var seen = new List<byte>();
        TensorBytes.Visit(tensor, (bytes, offset) =>
        {
            Assert.Equal(seen.Count, offset);
            Assert.True(bytes.Length <= Math.Max(4, piece));
            seen.AddRange(bytes);
        }, piece);
        Assert.Equal(tensor.bytes.ToArray(), seen);
    }

    [Fact]
    public void Slices_stay_within_their_tensor()
    {
        using var scope = NewDisposeScope();
        WriteAll("f", new() { ["a"] = arange(4, ScalarType.Byte), ["b"] = arange(4, 8, ScalarType.Byte) });
        var file = SafetensorsFile.Open(_folder["f"]);
        Assert.Equal([5, 6], file.Bytes("b", 1, 2).ToArray());
        Assert.True(file.Bytes("b", 4, 0).IsEmpty);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes("a", 1, 4).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes("b", -1, 2).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes("b", 0, -1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes("b", long.MaxValue, int.MaxValue).Length);
        Assert.Equal("c", Assert.Throws<CheckpointException>(() => file.Read("c")).Key);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Bytes("a").Length);
        Assert.Throws<ObjectDisposedException>(() => file.Read("a"));
    }

    [Fact]
    public void A_tensor_beyond_two_gigabytes_is_read_in_slices()
    {
        // A hole in the file: it takes no space where sparse files are supported.
        var info = new TensorInfo("w", ScalarType.Byte, [3_000_000_000]);
        byte[] header = SafetensorsWriter.WriteHeader([info], SafetensorsWriter.DefaultMetadata);
        using (var stream = File.Create(_folder["big"]))
        {
            stream.Write(header);
            stream.Position = header.Length + info.ByteCount - 1;
            stream.WriteByte(42);
        }

        using var file = SafetensorsFile.Open(_folder["big"]);
        Assert.Equal([0, 42], file.Bytes("w", info.ByteCount - 2, 2).ToArray());
        Assert.Contains(
            "slices", Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes("w").Length).Message, StringComparison.Ordinal);
    }

    private static bool IsText(string name) => !name.Any(char.IsSurrogate);

    private static byte[] Noise(TensorInfo info, int seed)
    {
        byte[] bytes = new byte[info.ByteCount];
#pragma warning disable CA5394 // any bytes will do
        new Random(seed).NextBytes(bytes);
#pragma warning restore CA5394
        return bytes;
    }

    private void WriteAll(string name, Dictionary<string, Tensor> tensors)
    {
        using var writer = SafetensorsWriter.Create(
            _folder[name], tensors.Select(t => new TensorInfo(t.Key, t.Value.dtype, t.Value.shape)));
        foreach (var (key, tensor) in tensors)
        {
            writer.Write(key, tensor);
        }

        writer.Complete();
    }
}
