using System.Buffers.Binary;
using System.Text;
using CsCheck;
using Xunit;

namespace DispLlm.Tests.Checkpoints;

/// <summary>Every way in which a safetensors file can lie, and that the error names the liar.</summary>
public sealed class SafetensorsMalformedTests : IDisposable
{
    private const string A = """{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    // not a header at all
    [InlineData("", 0, null, "begin with '{'")]
    [InlineData(" {}", 0, null, "begin with '{'")]
    [InlineData("[]", 0, null, "begin with '{'")]
    [InlineData("{", 0, null, "not valid JSON")]
    [InlineData("{}x", 0, null, "not valid JSON")]
    [InlineData("{}{}", 0, null, "not valid JSON")]
    [InlineData("{\"w\":" + A, 8, "w", "not valid JSON")]
    [InlineData("{\"w\":" + A + ",}", 8, "w", "not valid JSON")]
    [InlineData("""{"\ud800":1}""", 0, null, "not valid JSON")]
    // names
    [InlineData("{\"w\":" + A + ",\"w\":" + A + "}", 8, "w", "twice")]
    [InlineData("{\"w\":" + A + ",\"\\u0077\":" + A + "}", 8, "w", "twice")]
    [InlineData("""{"__metadata__":{},"__metadata__":{}}""", 0, "__metadata__", "twice")]
    // entries
    [InlineData("""{"w":null}""", 0, "w", "'null' instead of an object")]
    [InlineData("""{"w":[1]}""", 0, "w", "a list instead of an object")]
    [InlineData("""{"w":"x"}""", 0, "w", "'x' instead of an object")]
    [InlineData("""{"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "w", "'dtype' twice")]
    [InlineData("""{"w":{"shape":[2],"data_offsets":[0,8]}}""", 8, "w", "its dtype")]
    [InlineData("""{"w":{"dtype":"F32","data_offsets":[0,8]}}""", 8, "w", "its shape")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2]}}""", 8, "w", "its data_offsets")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"scale":[3]}}""", 8, "w", "'scale'")]
    // types
    [InlineData("""{"w":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}""", 8, "w", "'F8_E4M3'")]
    [InlineData("""{"w":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}""", 8, "w", "'f32'")]
    [InlineData("""{"w":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}""", 8, "w", "'32'")]
    // shapes
    [InlineData("""{"w":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}""", 8, "w", "shape is '2'")]
    [InlineData("""{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "w", "'-2'")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}""", 8, "w", "'2.0'")]
    [InlineData("""{"w":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}""", 8, "w", "'2'")]
    [InlineData("""{"w":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}}""", 8, "w", "a list")]
    [InlineData("""{"w":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}}""", 8, "w", "9223372036854775808")]
    [InlineData("""{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}""", 0, "w", "64 bits")]
    [InlineData("""{"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}""", 0, "w", "64 bits")]
    [InlineData("""{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "w", "take 12 bytes")]
    // ranges
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":8}}""", 8, "w", "data_offsets is '8'")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[8]}}""", 8, "w", "[8]")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""", 8, "w", "[0, 8, 8]")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "w", "[8, 0]")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", 8, "w", "'-8'")]
    [InlineData("""{"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "w", "hole")]
    [InlineData("{\"w\":" + A + ""","v":{"dtype":"U8","shape":[2],"data_offsets":[9,11]}}""", 11, "v", "hole after 'w'")]
    [InlineData("{\"w\":" + A + ""","v":{"dtype":"U8","shape":[2],"data_offsets":[7,9]}}""", 9, "v", "overlaps 'w'")]
    [InlineData("{\"w\":" + A + ",\"v\":" + A + "}", 8, "", "overlaps")]
    [InlineData("{\"w\":" + A + ""","v":{"dtype":"U8","shape":[0],"data_offsets":[3,3]}}""", 8, "v", "overlaps 'w'")]
    [InlineData("{\"w\":" + A + "}", 7, "w", "cut short")]
    [InlineData("{\"w\":" + A + "}", 0, "w", "cut short")]
    [InlineData("{\"w\":" + A + "}", 9, null, "1 bytes follow 'w'")]
    [InlineData("{}", 1, null, "1 bytes follow")]
    [InlineData(
        """{"w":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}"""
        + ""","v":{"dtype":"U8","shape":[0],"data_offsets":[9223372036854775807,9223372036854775807]}}""",
        8, "w", "cut short")]
    // metadata
    [InlineData("""{"__metadata__":"pt"}""", 0, "__metadata__", "'pt' instead")]
    [InlineData("""{"__metadata__":{"format":1}}""", 0, "__metadata__", "'format' is '1'")]
    [InlineData("""{"__metadata__":{"format":{}}}""", 0, "__metadata__", "'format' is an object")]
    [InlineData("""{"__metadata__":{"a":"1","a":"1"}}""", 0, "__metadata__", "'a' twice")]
    public void A_broken_header_is_refused_and_the_culprit_named(string header, int dataLength, string? key, string expected)
    {
        string path = _folder.Write("broken.safetensors", Compose(Encoding.UTF8.GetBytes(header), dataLength));

        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Equal(path, error.File);
        if (key != "")
        {
            Assert.Equal(key, error.Key);
        }

        if (error.Key is not null)
        {
            Assert.Contains($"'{error.Key}'", error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(0UL, 0, "at least 8")]
    [InlineData(0UL, 7, "at least 8")]
    [InlineData(0UL, 8, "begin with '{'")]
    [InlineData(100UL, 20, "100 bytes, but 12 follow")]
    [InlineData(100_000_001UL, 20, "100000001")]
    [InlineData(ulong.MaxValue, 20, "18446744073709551615")]
    [InlineData((ulong)long.MaxValue, 20, "9223372036854775807")]
    public void A_header_length_that_the_file_cannot_hold_is_refused(ulong headerLength, int fileLength, string expected)
    {
        byte[] bytes = new byte[Math.Max(8, fileLength)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, headerLength);
        string path = _folder.Write("length.safetensors", bytes[..fileLength]);

        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_no_UTF8_are_refused()
    {
        string path = _folder.Write("latin.safetensors", Compose([(byte)'{', (byte)'"', 0xE9, (byte)'"', (byte)'}'], 0));
        Assert.Contains("UTF-8", Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_and_a_folder_are_refused()
    {
        Assert.Contains(
            "no such file",
            Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(_folder["none"])).Message,
            StringComparison.Ordinal);
        Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(_folder.FullPath));
    }

    [Fact]
    public void A_hostile_name_does_not_break_the_log_line()
    {
        string name = "a\\nb\\u001b[31m" + new string('x', 5000);
        string path = _folder.Write("hostile.safetensors", Compose(Encoding.UTF8.GetBytes($$"""{"{{name}}":1}"""), 0));

        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path));

        Assert.DoesNotContain(error.Message, char.IsControl);
        Assert.True(error.Message.Length < 600 + path.Length);
    }

    [Fact]
    public void What_is_odd_but_allowed_is_read()
    {
        string header =
            """{"z":{"data_offsets":[0,0],"shape":[3,0],"dtype":"F64"},"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]}"""
            + ""","e":{"dtype":"I8","shape":[0],"data_offsets":[1,1]}}   """;
        using var file = SafetensorsFile.Open(_folder.Write("odd.safetensors", Compose(Encoding.UTF8.GetBytes(header), 1)));
        Assert.Equal(["z", "s", "e"], file.Tensors.Select(tensor => tensor.Name));
        Assert.Equal(1, file.Bytes("s").Length);
        Assert.True(file.Bytes("z").IsEmpty);

        using var none = SafetensorsFile.Open(_folder.Write("none.safetensors", Compose("{}"u8.ToArray(), 0)));
        Assert.Empty(none.Tensors);
        Assert.Empty(none.Metadata);
    }

    [Fact]
    public void Whatever_happens_to_a_file_the_answer_is_a_tensor_list_or_a_CheckpointException()
    {
        byte[] good = File.ReadAllBytes(TemporaryFolder.Fixture("llama-sharded-bf16/model-00005-of-00005.safetensors"));
        int header = 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(good);
        var flips = Gen.Select(Gen.Int[0, header - 1], Gen.Byte).Array[0, 4];
        var length = Gen.OneOf(Gen.Const(good.Length), Gen.Int[0, good.Length]);
        int file = 0;
        Gen.Select(flips, length).Sample((edits, cut) =>
        {
            byte[] bytes = (byte[])good.Clone();
            foreach (var (at, value) in edits)
            {
                bytes[at] = value;
            }

            OpenAndReadAll($"fuzz-{Interlocked.Increment(ref file)}", bytes[..cut]);
        }, iter: 2000);
    }

    [Fact]
    public void Whatever_JSON_stands_in_the_header_the_answer_is_a_tensor_list_or_a_CheckpointException()
    {
        // Pieces of headers in any order reach deeper than flipped bytes: they are often valid JSON with the wrong meaning.
        string[] pieces =
        [
            "{", "}", "[", "]", ",", ":", "\"dtype\":", "\"F32\"", "\"shape\":[", "\"data_offsets\":[", "0", "8", "2", "-1", "1e9", "null",
            "\"w\":{", "\"__metadata__\":{",
            "\"\\ud800\"", "9223372036854775807", "\"w\":" + A, "true",
        ];
        Gen.OneOfConst(pieces).Array[0, 20].Sample(
            parts => Survives(() => SafetensorsHeader.Parse(Encoding.UTF8.GetBytes("{" + string.Concat(parts)), 8, "f")), iter: 20_000);
    }

    private static void Survives(Action action)
    {
        try
        {
            action();
        }
        catch (CheckpointException)
        {
        }
    }

    private void OpenAndReadAll(string name, byte[] bytes)
    {
        string path = _folder.Write(name, bytes);
        Survives(() =>
        {
            using var file = SafetensorsFile.Open(path);
            long sum = 0;
            foreach (var tensor in file.Tensors)
            {
                foreach (byte b in file.Bytes(tensor.Name))
                {
                    sum += b;
                }
            }

            Assert.True(sum >= 0);
        });
        File.Delete(path);
    }

    private static byte[] Compose(byte[] header, int dataLength)
    {
        byte[] bytes = new byte[8 + header.Length + dataLength];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)header.Length);
        header.CopyTo(bytes, 8);
        return bytes;
    }
}
