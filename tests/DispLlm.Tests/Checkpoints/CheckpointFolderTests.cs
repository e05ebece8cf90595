using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace DispLlm.Tests.Checkpoints;

public sealed class CheckpointFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_sharded_checkpoint_reads_as_one()
    {
        using var scope = NewDisposeScope();
        using var folder = CheckpointFolder.Open(TemporaryFolder.Fixture("llama-sharded-bf16"));
        folder.OpenAll();
        Assert.Equal(5, folder.Shards.Count);
        Assert.Equal("model-00001-of-00005.safetensors", folder.Shards[0].FileName);
        Assert.Equal(
            folder.TensorNames.Order(StringComparer.Ordinal),
            folder.Shards.SelectMany(shard => shard.TensorNames).Order(StringComparer.Ordinal));
        Assert.Equal("llama", folder.Config.GetString("model_type"));
        long parameters = 0;
        foreach (string name in folder.TensorNames)
        {
            Assert.True(folder.Contains(name));
            using var tensor = folder.Read(name, CPU, ScalarType.Float32);
            Assert.Equal(folder.Info(name).Shape, tensor.shape);
            Assert.Equal(folder.Info(name).ByteCount, folder.Bytes(name).Length);
            Assert.True(tensor.isfinite().all().item<bool>());
            parameters += tensor.numel();
        }

        Assert.Equal(39200, parameters);
        Assert.Equal(folder.Bytes("model.norm.weight")[2..6], folder.Bytes("model.norm.weight", 2, 4));
    }

    [Fact]
    public void One_file_reads_without_an_index_and_unknown_tensors_are_named()
    {
        var folder = CheckpointFolder.Open(TemporaryFolder.Fixture("llama-mha"));
        Assert.Equal(["model.safetensors"], folder.Shards.Select(shard => shard.FileName));
        Assert.False(folder.Contains("model.nothing"));
        Assert.Equal("model.nothing", Assert.Throws<CheckpointException>(() => folder.Info("model.nothing")).Key);
        folder.Dispose();
        folder.Dispose();
        Assert.Throws<ObjectDisposedException>(() => folder.Info("model.norm.weight"));
    }

    [Fact]
    public void Tokenizer_files_are_those_that_are_there()
    {
        Sharded("""{"a":"1.safetensors"}""", ("1.safetensors", ["a"]));
        _folder.Write("tokenizer.json", "{}");
        _folder.Write("merges.txt", "");
        _folder.Write("README.md", "");
        using var folder = CheckpointFolder.Open(_folder.FullPath);
        Assert.Equal([_folder["tokenizer.json"], _folder["merges.txt"]], folder.TokenizerFiles);
    }

    [Fact]
    public void What_is_missing_is_named()
    {
        Assert.Contains("no such folder", Error(_folder["none"]), StringComparison.Ordinal);
        Assert.Contains("Give the folder", Error(_folder.Write("file", "")), StringComparison.Ordinal);
        Assert.Contains("config.json", Error(_folder.FullPath), StringComparison.Ordinal);
        _folder.Write("config.json", "{}");
        Assert.Contains(
            "none of model.safetensors, model.safetensors.index.json, pytorch_model.bin, "
                + "pytorch_model.bin.index.json", Error(_folder.FullPath), StringComparison.Ordinal);
        _folder.Write("pytorch_model.bin", "");
        Assert.Contains("pytorch_model.bin: the file is empty", Error(_folder.FullPath), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../1.safetensors")]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("")]
    [InlineData("/etc/passwd")]
    [InlineData("sub/1.safetensors")]
    [InlineData("sub\\\\1.safetensors")]
    [InlineData("..\\\\1.safetensors")]
    [InlineData("C:1.safetensors")]
    [InlineData("C:\\\\1.safetensors")]
    [InlineData("1.safetensors\\u0000")]
    public void A_shard_outside_the_folder_is_refused(string shard)
    {
        Sharded($$"""{"w":"{{shard}}"}""");
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(_folder.FullPath));
        Assert.Equal("w", error.Key);
        Assert.Contains("not a plain file name", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("index.json", error.File, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"w":1}""", "w", "'1'")]
    [InlineData("""{"w":"gone.safetensors"}""", "w", "'gone.safetensors' is missing")]
    [InlineData("""{"w":"1.safetensors","w":"1.safetensors"}""", "weight_map.w", "twice")]
    [InlineData("[]", "weight_map", "object")]
    [InlineData("null", "weight_map", "object")]
    public void A_broken_index_is_refused(string map, string key, string expected)
    {
        Sharded(map, ("1.safetensors", ["w"]));
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(_folder.FullPath));
        Assert.Equal(key, error.Key);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"a":"1.safetensors","b":"1.safetensors"}""", "b", "but it does not")]
    [InlineData("""{"b":"1.safetensors"}""", "b", "but it does not")]
    public void An_index_that_promises_too_much_is_refused(string map, string key, string expected)
    {
        Sharded(map, ("1.safetensors", ["a"]));
        Disagrees(key, expected);
    }

    [Fact]
    public void A_shard_that_holds_more_than_the_index_says_is_refused()
    {
        Sharded("""{"a":"1.safetensors"}""", ("1.safetensors", ["a", "x"]));
        Disagrees("x", "does not list it");
    }

    [Fact]
    public void A_tensor_in_two_shards_is_refused()
    {
        Sharded("""{"a":"1.safetensors","b":"2.safetensors"}""", ("1.safetensors", ["a"]), ("2.safetensors", ["b", "a"]));
        Disagrees("a", "says that 1.safetensors holds it");
    }

    [Fact]
    public void Shards_are_opened_when_they_are_needed()
    {
        Sharded("""{"a":"1.safetensors","b":"2.safetensors"}""", ("1.safetensors", ["a"]));
        _folder.Write("2.safetensors", "damaged");
        using var folder = CheckpointFolder.Open(_folder.FullPath);
        Assert.Equal(1, folder.Info("a").ByteCount);
        Assert.Equal(_folder["2.safetensors"], Assert.Throws<CheckpointException>(() => folder.Info("b")).File);
    }

    [Fact]
    public void Where_a_folder_has_both_formats_safetensors_are_read()
    {
        _folder.Write("config.json", "{}");
        _folder.Write("pytorch_model.bin.index.json", """{"weight_map":{"a":"1.bin"}}""");
        _folder.Write("1.bin", Pickled("a"));
        Assert.Equal(["1.bin"], Files());
        _folder.Write("pytorch_model.bin", Pickled("b"));
        Assert.Equal(["pytorch_model.bin"], Files());
        Sharded("""{"a":"1.safetensors"}""", ("1.safetensors", ["a"]));
        Assert.Equal(["1.safetensors"], Files());
        File.Copy(_folder["1.safetensors"], _folder["model.safetensors"]);
        Assert.Equal(["model.safetensors"], Files());
    }

    [Fact]
    public void A_PyTorch_shard_that_is_not_what_its_index_says_is_refused()
    {
        _folder.Write("config.json", "{}");
        _folder.Write("pytorch_model.bin.index.json", """{"weight_map":{"a":"1.bin","b":"2.bin"}}""");
        _folder.Write("1.bin", Pickled("a", "x"));
        _folder.Write("2.bin", "damaged");
        using var folder = CheckpointFolder.Open(_folder.FullPath);
        Assert.Contains(
            "pytorch_model.bin.index.json does not list it",
            Assert.Throws<CheckpointException>(() => folder.Info("a")).Message,
            StringComparison.Ordinal);
        Assert.Equal(_folder["2.bin"], Assert.Throws<CheckpointException>(() => folder.Info("b")).File);
    }

    private string[] Files()
    {
        using var folder = CheckpointFolder.Open(_folder.FullPath);
        folder.OpenAll();
        return [.. folder.Shards.Select(shard => shard.FileName)];
    }

    private static byte[] Pickled(params string[] names)
    {
        var pickle = PickleBuilder.Dictionary;
        foreach (string name in names)
        {
            pickle.Text(name).Tensor("0", "ByteStorage", 1);
        }

        return ZipBuilder.Checkpoint(pickle.End(), [1]).ToArray();
    }

    private static string Error(string path) => Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(path)).Message;

    private void Disagrees(string key, string expected)
    {
        using var folder = CheckpointFolder.Open(_folder.FullPath);
        var error = Assert.Throws<CheckpointException>(folder.OpenAll);
        Assert.Equal(key, error.Key);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    private void Sharded(string map, params (string File, string[] Names)[] shards)
    {
        _folder.Write("config.json", "{}");
        _folder.Write("model.safetensors.index.json", $$"""{"weight_map":{{map}}}""");
        foreach (var (file, names) in shards)
        {
            using var writer = SafetensorsWriter.Create(_folder[file], names.Select(name => new TensorInfo(name, ScalarType.Byte, [1])));
            foreach (string name in names)
            {
                writer.Write(name, [1]);
            }

            writer.Complete();
        }
    }
}
