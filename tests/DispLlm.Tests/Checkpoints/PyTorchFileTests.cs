using System.IO.Compression;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Checkpoints;

/// <summary>What PyTorch writes is read as it was meant.</summary>
public sealed class PyTorchFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_checkpoint_in_one_file_reads_like_any_other()
    {
        using var scope = NewDisposeScope();
        using var folder = CheckpointFolder.Open(TemporaryFolder.Fixture("opt-bin"));
        folder.OpenAll();
        Assert.Equal(["pytorch_model.bin"], folder.Shards.Select(shard => shard.FileName));
        Assert.Equal(36, folder.TensorNames.Count);
        Assert.Equal([130, 32], folder.Info("decoder.embed_positions.weight").Shape);
        Assert.Equal([64, 32], folder.Info("decoder.embed_tokens.weight").Shape);
        Assert.Equal([32], folder.Info("decoder.final_layer_norm.bias").Shape);
        Assert.Equal([64, 32], folder.Info("decoder.layers.1.fc1.weight").Shape);
        Assert.Equal([32, 64], folder.Info("decoder.layers.1.fc2.weight").Shape);
        Assert.False(folder.Contains("lm_head.weight"));
        Assert.Equal(23360, AllFinite(folder));

        // The file's first number stands at byte 0x1040: fe 3d, which is 1 + 0x1fe / 1024.
        using var positions = folder.Read("decoder.embed_positions.weight", CPU, ScalarType.Float32);
        Assert.Equal(1 + (510 / 1024f), positions[0, 0].ToSingle());
        Assert.Equal(1 + (147 / 1024f), positions[0, 1].ToSingle());
        Assert.Equal(folder.Bytes("decoder.embed_positions.weight")[64..128], folder.Bytes("decoder.embed_positions.weight", 64, 64));
    }

    [Fact]
    public void A_sharded_checkpoint_reads_as_one()
    {
        using var scope = NewDisposeScope();
        using var folder = CheckpointFolder.Open(TemporaryFolder.Fixture("opt-bin-sharded"));
        folder.OpenAll();
        Assert.Equal(
            ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"], folder.Shards.Select(shard => shard.FileName));
        Assert.Equal(52, folder.TensorNames.Count);
        Assert.Equal(
            folder.TensorNames.Order(StringComparer.Ordinal),
            folder.Shards.SelectMany(shard => shard.TensorNames).Order(StringComparer.Ordinal));
        Assert.Equal([32, 64], folder.Info("model.decoder.layers.2.fc2.weight").Shape);
        Assert.Equal(31904, AllFinite(folder));
    }

    [Theory]
    [InlineData("opt-bin/pytorch_model.bin", "pytorch_model")]
    [InlineData("opt-bin-sharded/pytorch_model-00001-of-00002.bin", "pytorch_model-00001-of-00002")]
    [InlineData("opt-bin-sharded/pytorch_model-00002-of-00002.bin", "pytorch_model-00002-of-00002")]
    public void Every_tensor_has_the_bytes_that_another_zip_reader_finds(string name, string root)
    {
        // These files number their storages in the order of their tensors; the platform's reader goes by the data and not by our places.
        using var file = PyTorchFile.Open(TemporaryFolder.Fixture(name));
        using var archive = ZipFile.OpenRead(TemporaryFolder.Fixture(name));
        Assert.Equal(
            archive.Entries.Count(entry => entry.FullName.StartsWith($"{root}/data/", StringComparison.Ordinal)), file.Tensors.Count);
        for (int i = 0; i < file.Tensors.Count; i++)
        {
            using var entry = archive.GetEntry($"{root}/data/{i}")!.Open();
            using var bytes = new MemoryStream();
            entry.CopyTo(bytes);
            Assert.Equal(bytes.ToArray(), file.Bytes(file.Tensors[i].Name).ToArray());
        }
    }

    [Theory]
    [InlineData("DoubleStorage", ScalarType.Float64)]
    [InlineData("FloatStorage", ScalarType.Float32)]
    [InlineData("HalfStorage", ScalarType.Float16)]
    [InlineData("BFloat16Storage", ScalarType.BFloat16)]
    [InlineData("LongStorage", ScalarType.Int64)]
    [InlineData("IntStorage", ScalarType.Int32)]
    [InlineData("ShortStorage", ScalarType.Int16)]
    [InlineData("CharStorage", ScalarType.Int8)]
    [InlineData("ByteStorage", ScalarType.Byte)]
    [InlineData("BoolStorage", ScalarType.Bool)]
    public void Every_type_is_read(string storage, ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var expected = tensor([1f, 0f, 1f, 1f, 0f, 1f]).reshape(2, 3).to(type);
        using var file = Open(PickleBuilder.Dictionary.Text("w").Tensor("0", storage, 2, 3).End(), expected.bytes.ToArray());
        using var actual = file.Read("w");
        Assert.Equal(type, actual.dtype);
        Assert.True(actual.Equals(expected));
    }

    [Fact]
    public void Views_of_one_storage_are_names_of_the_same_bytes()
    {
        byte[] storage = MemoryMarshal.AsBytes<float>([0, 1, 2, 3, 4, 5, 6, 7]).ToArray();
        using var file = Open(
            PickleBuilder.Dictionary
                .Text("lm_head").View("0", "FloatStorage", 8, 0, [4, 2], [2, 1])
                .Text("embed").View("0", "FloatStorage", 8, 0, [4, 2], [2, 1])
                .Text("rows").View("0", "FloatStorage", 8, 2, [2, 2], [2, 1])
                .Text("single").View("0", "FloatStorage", 8, 3, [1, 3, 1], [77, 1, -5])
                .Text("number").View("0", "FloatStorage", 8, 7, [], [])
                .Text("nothing").View("0", "FloatStorage", 8, 8, [0, 5], [1, 1])
                .End(),
            storage);
        Assert.Equal(6, file.Tensors.Count);
        Assert.Equal(file.Info("lm_head").Offset, file.Info("embed").Offset);
        Assert.Equal(storage, file.Bytes("embed").ToArray());
        Assert.Equal([2, 3, 4, 5], Values(file, "rows"));
        Assert.Equal([3, 4, 5], Values(file, "single"));
        Assert.Equal([7], Values(file, "number"));
        Assert.Empty(Values(file, "nothing"));
    }

    [Fact]
    public void A_state_dict_as_a_module_gives_it_is_read()
    {
        // An OrderedDict with the versions of its modules, a parameter, and a tensor with metadata that says nothing.
        var pickle = new PickleBuilder().Raw(0x80, 2).OrderedDict().Op("(")
            .Text("p").Global("torch._utils", "_rebuild_parameter").Op("(").Tensor("0", "FloatStorage", 1).Raw(0x88).OrderedDict().Op("tR")
            .Text("t").Global("torch._utils", "_rebuild_tensor_v2").Op("(").Storage("FloatStorage", "1", 1).Number(0).Tuple(1).Tuple(1)
            .Raw(0x89).OrderedDict().Op("NtR")
            .Op("u}").Text("_metadata").OrderedDict().Text("").Op("}").Text("version").Number(1).Op("sssb.");
        using var file = Open(pickle.ToArray(), [0, 0, 128, 63], [0, 0, 0, 64]);
        Assert.Equal([1], Values(file, "p"));
        Assert.Equal([2], Values(file, "t"));
    }

    [Fact]
    public void Later_protocols_are_read()
    {
        // Protocol 4: a frame, short texts, the memo by count, globals from the stack.
        PickleBuilder Short(PickleBuilder pickle, string text) => pickle.Raw(0x8c, (byte)text.Length).Op(text).Raw(0x94);
        var body = Short(new PickleBuilder().Op("}").Raw(0x94), "w");
        body = Short(Short(body, "torch._utils"), "_rebuild_tensor_v2").Raw(0x93, 0x94).Op("((");
        body = Short(Short(Short(body, "storage"), "torch"), "ByteStorage").Raw(0x93, 0x94);
        body = Short(Short(body, "0"), "cpu").Number(3).Op("tQ").Number(0).Number(3).Raw(0x85).Number(1).Raw(0x85, 0x89);
        body = Short(Short(body, "collections"), "OrderedDict").Raw(0x93).Op(")RtRs.");
        byte[] frame = BitConverter.GetBytes((long)body.ToArray().Length);
        using var file = Open(new PickleBuilder().Raw(0x80, 4, 0x95).Raw(frame).Raw(body.ToArray()).ToArray(), [1, 2, 3]);
        Assert.Equal([1, 2, 3], file.Bytes("w").ToArray());
    }

    [Fact]
    public void Zip64_a_comment_and_a_file_without_byteorder_are_read()
    {
        byte[] pickle = PickleBuilder.Dictionary.Text("w").Tensor("0", "ByteStorage", 3).End();
        string path = _folder.Write("zip64.bin", new ZipBuilder { Zip64 = true, Comment = "PK\x05\x06" }.With(pickle, [1, 2, 3]).ToArray());
        using var wide = PyTorchFile.Open(path);
        Assert.Equal([1, 2, 3], wide.Bytes("w").ToArray());
        Assert.Equal(0, wide.Info("w").Offset % 64);

        path = _folder.Write("old.bin", new ZipBuilder().Add("x/data.pkl", pickle).Add("x/data/0", [4, 5, 6]).ToArray());
        using var old = PyTorchFile.Open(path);
        Assert.Equal([4, 5, 6], old.Bytes("w").ToArray());
    }

    [Fact]
    public void Storages_beyond_four_gigabytes_are_found_and_read_in_slices()
    {
        const long Hole = 5_000_000_000;
        var pickle = PickleBuilder.Dictionary.Text("large").Tensor("0", "ByteStorage", Hole + 1).Text("after")
            .Tensor("1", "ByteStorage", 2);
        using (var stream = File.Create(_folder["big"]))
        {
            new ZipBuilder { Zip64 = true }.Add("a/data.pkl", pickle.End()).AddSparse("a/data/0", Hole, [42]).Add("a/data/1", [8, 9])
                .WriteTo(stream);
        }

        using var file = PyTorchFile.Open(_folder["big"]);
        Assert.Equal([0, 42], file.Bytes("large", Hole - 1, 2).ToArray());
        Assert.Equal([8, 9], file.Bytes("after").ToArray());
        Assert.Contains(
            "slices", Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes("large").Length).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_stays_when_its_file_is_closed_and_nothing_is_read_after()
    {
        using var scope = NewDisposeScope();
        var file = Open(PickleBuilder.Dictionary.Text("w").Tensor("0", "ByteStorage", 2).End(), [8, 9]);
        using var tensor = file.Read("w");
        file.Dispose();
        file.Dispose();
        Assert.Equal([8, 9], tensor.data<byte>().ToArray());
        Assert.Throws<ObjectDisposedException>(() => file.Read("w"));
        Assert.Throws<ObjectDisposedException>(() => file.Bytes("w").Length);
    }

    private static float[] Values(PyTorchFile file, string name) => MemoryMarshal.Cast<byte, float>(file.Bytes(name)).ToArray();

    private static long AllFinite(CheckpointFolder folder)
    {
        long elements = 0;
        foreach (string name in folder.TensorNames)
        {
            Assert.Equal(ScalarType.Float16, folder.Info(name).Type);
            using var tensor = folder.Read(name, CPU, ScalarType.Float32);
            Assert.Equal(folder.Info(name).Shape, tensor.shape);
            Assert.True(tensor.isfinite().all().item<bool>());
            Assert.Equal(
                MemoryMarshal.Cast<byte, Half>(folder.Bytes(name)).ToArray().Select(half => (float)half), tensor.data<float>().ToArray());
            elements += tensor.numel();
        }

        return elements;
    }

    private PyTorchFile Open(byte[] pickle, params byte[][] storages) =>
        PyTorchFile.Open(_folder.Write("f.bin", ZipBuilder.Checkpoint(pickle, storages).ToArray()));
}
