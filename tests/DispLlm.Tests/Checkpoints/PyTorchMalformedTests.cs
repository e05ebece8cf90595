using System.Formats.Tar;
using System.Text;
using CsCheck;

namespace DispLlm.Tests.Checkpoints;

/// <summary>
/// Every way in which a PyTorch file can lie or attack, and that the error names the file and the liar, and nothing runs.
/// </summary>
public sealed class PyTorchMalformedTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static readonly Dictionary<string, (byte[] Bytes, string Expected)> AttacksByName = new()
    {
        { "GLOBAL and REDUCE", (
            Item.Global("os", "system").Text("touch owned").Raw(0x85).Op("R").End(), "at byte 10: the global 'os.system'") },
        { "GLOBAL alone", (Item.Global("os", "system").End(), "at byte 10: the global 'os.system'") },
        { "GLOBAL with a dotted name", (Item.Global("collections", "OrderedDict.__class__").End(), "'collections.OrderedDict.__class__'") },
        { "GLOBAL of torch", (Item.Global("torch", "load").End(), "'torch.load'") },
        { "GLOBAL of a later tensor", (Item.Global("torch._utils", "_rebuild_tensor_v3").End(), "'torch._utils._rebuild_tensor_v3'") },
        { "GLOBAL of an unknown storage", (Item.Storage("ComplexFloatStorage", "0", 1).End(), "'torch.ComplexFloatStorage'") },
        { "GLOBAL with control characters", (Item.Global("o\u001bs", "sys\rtem").End(), "'o?s.sys?tem'") },
        { "STACK_GLOBAL", (Item.Text("posix").Text("system").Raw(0x93).End(), "at byte 31: the global 'posix.system'") },
        { "STACK_GLOBAL of numbers", (Item.Number(1).Number(2).Raw(0x93).End(), "STACK_GLOBAL") },
        { "INST", (Item.Op("(").Text("x").Op("ios\nsystem\n").End(), "at byte 17: the opcode INST") },
        { "OBJ", (Item.Op("(").OrderedDict().Op("o").End(), "the opcode OBJ") },
        { "NEWOBJ", (Item.Global("collections", "OrderedDict").Op(")").Raw(0x81).End(), "the opcode NEWOBJ ") },
        { "NEWOBJ_EX", (Item.Global("collections", "OrderedDict").Op(")}").Raw(0x92).End(), "the opcode NEWOBJ_EX") },
        { "EXT1", (Item.Raw(0x82, 1).End(), "the opcode EXT1") },
        { "EXT2", (Item.Raw(0x83, 1, 0).End(), "the opcode EXT2") },
        { "EXT4", (Item.Raw(0x84, 1, 0, 0, 0).End(), "the opcode EXT4") },
        { "PERSID", (Item.Op("Pid\n").End(), "the opcode PERSID") },
        { "REDUCE of a tuple", (Item.Op("))R").End(), "REDUCE is not given") },
        { "REDUCE without a tuple", (Item.Global("collections", "OrderedDict").Op("NR").End(), "REDUCE is not given") },
        { "REDUCE of a storage", (Item.Global("torch", "FloatStorage").Op(")R").End(), "REDUCE gives Storage") },
        { "BUILD on a dictionary", (Item.Op("}}").Text("_metadata").Op("}sb").End(), "BUILD") },
        { "BUILD of another attribute", (Item.OrderedDict().Op("}").Text("__class__").Op("}sb").End(), "BUILD") },
        { "BUILD by a number", (Item.OrderedDict().Number(1).Op("b").End(), "BUILD") },
        { "BINPERSID of a text", (Item.Text("0").Op("Q").End(), "'0' is not the description of a storage") },
        { "BINPERSID of a module", (
            Item.Op("(").Text("module").Global("torch", "FloatStorage").Text("0").Text("cpu").Number(1).Op("tQ").End(), "a tuple of 5") },
        { "BINPERSID of a path", (
            Item.Op("(").Text("storage").Global("collections", "OrderedDict").Text("0").Text("cpu").Number(1).Op("tQ").End(),
            "a tuple of 5") },
    };

    private static readonly Dictionary<string, (byte[] Bytes, string Expected)> FaultsByName = new()
    {
        { "empty", ([], "the pickle ends after 0 bytes") },
        { "unknown opcode", (Item.Raw(0xFE).End(), "at byte 10: the opcode 0xfe") },
        { "protocol", (new PickleBuilder().Raw(0x80, 6).Op("}.").ToArray(), "protocol 6") },
        { "no end", (PickleBuilder.Dictionary.Op("u").ToArray(), "ends after") },
        { "more after the end", ([.. PickleBuilder.Dictionary.End(), 0], "1 bytes follow") },
        { "value left over", (new PickleBuilder().Op("}}.").ToArray(), "1 values") },
        { "mark left over", (new PickleBuilder().Op("(}.").ToArray(), "1 marks") },
        { "nothing to end with", (new PickleBuilder().Op(".").ToArray(), "where there is none") },
        { "a value from below the mark", (new PickleBuilder().Op("}}(s.").ToArray(), "where there is none") },
        { "no mark", (new PickleBuilder().Op("}u.").ToArray(), "a mark is asked for") },
        { "memo of nothing", (Item.Op("h").Raw(9).End(), "memo 9 is asked for") },
        { "memo of nothing, long", (Item.Op("j").Raw(0xFF, 0xFF, 0xFF, 0xFF).End(), "memo 4294967295") },
        { "put of nothing", (new PickleBuilder().Op("q").Raw(0).Op("}.").ToArray(), "where there is none") },
        { "odd items", (PickleBuilder.Dictionary.Text("w").End(), "1 keys and values") },
        { "items of a tuple", (new PickleBuilder().Op(")NNs.").ToArray(), "a tuple of 0") },
        { "append to a dictionary", (new PickleBuilder().Op("}Na.").ToArray(), "instead of a list") },
        { "text too long", (PickleBuilder.Dictionary.Op("X").Raw(0xFF, 0xFF, 0xFF, 0x7F).ToArray(), "2147483647 bytes are announced") },
        { "text far too long", (
            PickleBuilder.Dictionary.Raw(0x8d).Raw(BitConverter.GetBytes(ulong.MaxValue)).ToArray(), "18446744073709551615 bytes") },
        { "frame too long", (
            new PickleBuilder().Raw(0x80, 4, 0x95).Raw(BitConverter.GetBytes(long.MaxValue)).Op("}.").ToArray(),
            "9223372036854775807 bytes") },
        { "integer too long", (Item.Raw(0x8a, 9).Raw(new byte[9]).End(), "9 bytes") },
        { "integer far too long", (Item.Raw(0x8b, 0xFF, 0xFF, 0xFF, 0xFF).End(), "4294967295 bytes") },
        { "text that is none", (PickleBuilder.Dictionary.Op("X").Raw(1, 0, 0, 0, 0xC3).End(), "UTF-8") },
        { "global without an end", (PickleBuilder.Dictionary.Op("ctorch").ToArray(), "in the middle of it") },
        { "negated numbers", (Item.Global("torch._utils", "_rebuild_tensor_v2").Op("(").Storage("ByteStorage", "0", 8).Number(0).Tuple(8)
            .Tuple(1).Raw(0x89).OrderedDict()
            .Op("}").Text("neg").Raw(0x88).Op("stR").End(), "REDUCE gives Tensor") },
        { "shape of texts", (Item.Global("torch._utils", "_rebuild_tensor_v2").Op("(").Storage("ByteStorage", "0", 8).Number(0).Text("8")
            .Raw(0x85).Tuple(1).Raw(0x89).OrderedDict()
            .Op("tR").End(), "REDUCE gives Tensor") },
        { "shape without end", (Item.View("0", "ByteStorage", 8, 0, new long[65], new long[65]).End(), "REDUCE gives Tensor") },
        { "no dictionary", (new PickleBuilder().Op("N.").ToArray(), "does not hold a dictionary") },
        { "a tensor alone", (new PickleBuilder().Tensor("0", "ByteStorage", 8).Op(".").ToArray(), "does not hold a dictionary") },
        { "a number for a key", (new PickleBuilder().Op("}").Number(7).Tensor("0", "ByteStorage", 8).Op("s.").ToArray(), "'7'") },
        { "itself for a key", (new PickleBuilder().Op("}q").Raw(0).Op("h").Raw(0).Op("Ns.").ToArray(), "a key that is no text") },
        { "itself for a value", (Item.Op("}q").Raw(0).Text("x").Op("h").Raw(0).Op("s").End(), "it is a dictionary") },
    };

    private static readonly Dictionary<string, (byte[] Bytes, string Expected)> TensorsByName = new()
    {
        { "twice", (Item.Tensor("0", "ByteStorage", 8).Text("w").Tensor("0", "ByteStorage", 8).End(), "has it twice") },
        { "a dictionary", (Item.OrderedDict().End(), "it is a dictionary") },
        { "a number", (Item.Number(3).End(), "it is no tensor") },
        { "None", (Item.Op("N").End(), "it is no tensor") },
        { "a storage", (Item.Storage("ByteStorage", "0", 8).End(), "it is no tensor") },
        { "no such storage", (Item.Tensor("1", "ByteStorage", 8).End(), "its storage '1' is not in the archive") },
        { "a storage elsewhere", (
            Item.Tensor("../../../etc/passwd", "ByteStorage", 8).End(), "its storage '../../../etc/passwd' is not in the archive") },
        { "a storage too small", (Item.Tensor("0", "ByteStorage", 9).End(), "9 numbers of U8, but has 8 bytes") },
        { "a storage too large", (Item.Tensor("0", "ByteStorage", 7).End(), "7 numbers of U8, but has 8 bytes") },
        { "half a number", (
            Item.Tensor("0", "DoubleStorage", 0).Text("v").Tensor("0", "DoubleStorage", 1).End(), "0 numbers of F64, but has 8 bytes") },
        { "a negative storage", (Item.View("0", "ByteStorage", -8, 0, [8], [1]).End(), "-8 numbers") },
        { "a storage of too many bytes", (Item.View("0", "LongStorage", long.MaxValue, 0, [1], [1]).End(), "9223372036854775807 numbers") },
        { "beyond its storage", (Item.View("0", "ByteStorage", 8, 0, [9], [1]).End(), "takes 9 numbers from number 0") },
        { "beyond its storage by its offset", (Item.View("0", "ByteStorage", 8, 1, [8], [1]).End(), "from number 1") },
        { "far beyond", (Item.View("0", "ByteStorage", 8, long.MaxValue, [8], [1]).End(), "from number 9223372036854775807") },
        { "nothing beyond", (Item.View("0", "ByteStorage", 8, 9, [0], [1]).End(), "from number 9") },
        { "a negative offset", (Item.View("0", "ByteStorage", 8, -1, [1], [1]).End(), "from number -1") },
        { "a negative size", (Item.View("0", "ByteStorage", 8, 0, [-2, -4], [4, 1]).End(), "[-2, -4]") },
        { "a size without a stride", (Item.View("0", "ByteStorage", 8, 0, [2, 4], [1]).End(), "strides [1] describe no tensor") },
        { "too many numbers", (Item.View("0", "ByteStorage", 8, 0, [1L << 32, 1L << 32], [1L << 32, 1]).End(), "64 bits") },
        { "too many numbers and none", (Item.View("0", "ByteStorage", 8, 0, [0, 1L << 32, 1L << 32], [0, 1L << 32, 1]).End(), "64 bits") },
        { "transposed", (Item.View("0", "ByteStorage", 8, 0, [4, 2], [1, 4]).End(), "shape is [4, 2], its strides are [1, 4]") },
        { "repeated", (Item.View("0", "ByteStorage", 8, 0, [4, 2], [0, 1]).End(), "not contiguous") },
        { "backwards", (Item.View("0", "ByteStorage", 8, 7, [8], [-1]).End(), "not contiguous") },
        { "every other column", (Item.View("0", "ByteStorage", 8, 0, [2, 2], [4, 2]).End(), "not contiguous") },
    };

    private static readonly Dictionary<string, (byte[] File, string? Key, string Expected)> ArchivesByName = new()
    {
        { "parent", (Good().Add("archive/../../owned", []).ToArray(), "archive/../../owned", "leaves the archive") },
        { "absolute", (Good().Add("/etc/passwd", []).ToArray(), "/etc/passwd", "leaves the archive") },
        { "drive", (Good().Add("C:/owned", []).ToArray(), "C:/owned", "leaves the archive") },
        { "backslash", (Good().Add("archive\\..\\owned", []).ToArray(), "archive\\..\\owned", "leaves the archive") },
        { "no name", (Good().Add("", []).ToArray(), "", "leaves the archive") },
        { "other root", (Good().Add("other/data.pkl", []).ToArray(), "other/data.pkl", "not in one folder") },
        { "no root", (Good().Add("data.pkl", []).ToArray(), "data.pkl", "not in one folder") },
        { "twice", (Good().Add("archive/data/0", []).ToArray(), "archive/data/0", "twice") },
        { "compressed", (Good().Add("archive/x", [3, 0], method: 8).ToArray(), "archive/x", "compressed (method 8)") },
        { "encrypted", (Good().Add("archive/x", [3, 0], flags: 1).ToArray(), "archive/x", "encrypted") },
        { "sizes differ", (Good().Add("archive/x", [3, 0], storedSize: 1).ToArray(), "archive/x", "2 bytes, 1 of them stored") },
        { "another local name", (Good().Add("archive/x", [], localName: "archive/y").ToArray(), "archive/x", "there is another or none") },
        { "another place", (Good().Add("archive/x", [], header: 64).ToArray(), "archive/x", "there is another or none") },
        { "place outside", (Good().Add("archive/x", [], header: 1 << 30).ToArray(), "archive/x", "from byte 1073741824 reaches into") },
        { "no zip64 field", (Good().Add("archive/x", [], header: uint.MaxValue).ToArray(), "archive/x", "from byte 4294967295") },
        { "big-endian", (
            new ZipBuilder().Add("a/data.pkl", GoodPickle).Add("a/byteorder", "big"u8.ToArray()).ToArray(), "a/byteorder", "'big' order") },
        { "version", (new ZipBuilder().Add("a/data.pkl", GoodPickle).Add("a/version", "11\n"u8.ToArray()).ToArray(), "a/version", "'11'") },
        { "version that is none", (
            new ZipBuilder().Add("a/data.pkl", GoodPickle).Add("a/version", "x"u8.ToArray()).ToArray(), "a/version", "'x'") },
        { "version without end", (
            new ZipBuilder().Add("a/data.pkl", GoodPickle).Add("a/version", new byte[65]).ToArray(), "a/version", "65 bytes") },
        { "no pickle", (new ZipBuilder().Add("a/model.onnx", []).ToArray(), "a/data.pkl", "no such entry") },
        { "no entries", (new ZipBuilder().ToArray(), null, "does not begin as a zip archive does") },
        { "no directory", (Good().ToArray()[..500], null, "zip directory at the end is missing") },
        { "more after the end", ([.. Good().ToArray(), 0], null, "zip directory at the end is missing") },
        { "more in front", ([.. "PK\x03\x04"u8, .. Good().ToArray()], null, "does not fit") },
    };

    private static readonly Dictionary<string, (byte[] Bytes, string Expected)> StrangersByName = new()
    {
        { "empty", ([], "the file is empty") },
        { "legacy", ([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, .. "."u8], "before version 1.6") },
        { "tar", (Tar(), "a tar archive") },
        { "pointer", ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"u8.ToArray(), "git lfs pull") },
        { "page", ("<!DOCTYPE html>"u8.ToArray(), "does not begin as a zip archive does") },
    };

    // The theories are given names, not bytes: a runner writes every argument out as text, again and again.
    public static TheoryData<string> Attacks => [.. AttacksByName.Keys];

    public static TheoryData<string> Faults => [.. FaultsByName.Keys];

    public static TheoryData<string> Tensors => [.. TensorsByName.Keys];

    public static TheoryData<string> Archives => [.. ArchivesByName.Keys];

    public static TheoryData<string> Strangers => [.. StrangersByName.Keys];

    private static byte[] GoodPickle => Item.Tensor("0", "ByteStorage", 8).End();

    /// <summary>A dictionary in which the value of 'w' is due. It begins at byte 10.</summary>
    private static PickleBuilder Item => PickleBuilder.Dictionary.Text("w");

    [Theory]
    [MemberData(nameof(Attacks))]
    public void A_pickle_that_would_run_something_is_refused_where_it_says_so(string what)
    {
        var (pickle, expected) = AttacksByName[what];
        var error = Refused(ZipBuilder.Checkpoint(pickle, new byte[8]).ToArray());
        Assert.True(error.Message.Contains(expected, StringComparison.Ordinal), $"{what}: {error.Message}");
        Assert.Equal("archive/data.pkl", error.Key);
        Assert.Contains("at byte ", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void A_pickle_that_is_no_state_dict_is_refused(string what)
    {
        var (pickle, expected) = FaultsByName[what];
        var error = Refused(ZipBuilder.Checkpoint(pickle, new byte[8]).ToArray());
        Assert.True(error.Message.Contains(expected, StringComparison.Ordinal), $"{what}: {error.Message}");
    }

    [Theory]
    [MemberData(nameof(Tensors))]
    public void A_tensor_that_cannot_be_is_refused_by_name(string what)
    {
        var (pickle, expected) = TensorsByName[what];
        var error = Refused(ZipBuilder.Checkpoint(pickle, new byte[8]).ToArray());
        Assert.True(error.Message.Contains(expected, StringComparison.Ordinal), $"{what}: {error.Message}");
        Assert.Equal("w", error.Key);
    }

    [Theory]
    [MemberData(nameof(Archives))]
    public void An_archive_that_is_not_as_PyTorch_writes_it_is_refused(string what)
    {
        var (file, key, expected) = ArchivesByName[what];
        var error = Refused(file);
        Assert.True(error.Message.Contains(expected, StringComparison.Ordinal), $"{what}: {error.Message}");
        Assert.Equal(key, error.Key);
    }

    [Theory]
    [MemberData(nameof(Strangers))]
    public void A_file_of_another_kind_is_told_from_a_damaged_one(string what)
    {
        var (file, expected) = StrangersByName[what];
        var error = Refused(file);
        Assert.True(error.Message.Contains(expected, StringComparison.Ordinal), $"{what}: {error.Message}");
    }

    [Fact]
    public void A_pickle_too_long_is_refused_before_it_is_read()
    {
        var error = Refused(new ZipBuilder().Add("a/data.pkl", new byte[(32 << 20) + 1]).ToArray());
        Assert.Contains("33554433 bytes", error.Message, StringComparison.Ordinal);
        Assert.Equal("a/data.pkl", error.Key);
    }

    [Fact]
    public void Entries_that_share_bytes_are_refused()
    {
        // Inside one entry's bytes stands another entry, header and all, and the directory lists both.
        byte[] inner = new ZipBuilder().Add("archive/inner", [1]).ToArray()[..65];
        byte[] file = Good().Add("archive/outer", [.. "around"u8, .. inner]).ToArray();
        var error = Refused(Claim(file, "archive/inner", (uint)file.AsSpan().IndexOf(inner), 1));
        Assert.Equal("archive/inner", error.Key);
        Assert.Contains("overlaps 'archive/outer'", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_and_a_folder_are_refused()
    {
        Assert.Contains(
            "no such file", Assert.Throws<CheckpointException>(() => PyTorchFile.Open(_folder["none"])).Message, StringComparison.Ordinal);
        Assert.Throws<CheckpointException>(() => PyTorchFile.Open(_folder.FullPath));
    }

    [Fact]
    public void A_pickle_cut_anywhere_is_refused()
    {
        byte[] pickle = PickleBuilder.Dictionary.Text("a").Tensor("0", "ByteStorage", 8).Text("b").View(
            "0", "ByteStorage", 8, 0, [70_000L - 69_992], [1]).End();
        for (int length = 0; length < pickle.Length; length++)
        {
            Assert.Equal("archive/data.pkl", Refused(ZipBuilder.Checkpoint(pickle[..length], new byte[8]).ToArray()).Key);
        }
    }

    [Fact]
    public void A_file_cut_anywhere_is_refused()
    {
        byte[] good = File.ReadAllBytes(TemporaryFolder.Fixture("opt-bin/pytorch_model.bin"));
        foreach (int length in Enumerable.Range(0, good.Length).Where(length => length % 97 == 0 || good.Length - length < 120))
        {
            Refused(good[..length]);
        }
    }

    [Fact]
    public void What_a_pickle_repeats_by_its_memo_takes_no_more_memory_than_its_length()
    {
        // One tuple of half a million numbers as the shape of a hundred thousand tensors would be 400 GB.
        var pickle = new PickleBuilder().Op("}((").Raw(
            [.. Enumerable.Repeat((byte)0x89, 500_000)]).Op("tq").Raw(0).Storage("ByteStorage", "0", 8).Op("q").Raw(1);
        pickle.Global("torch._utils", "_rebuild_tensor_v2").Op("q").Raw(2).OrderedDict().Op("q").Raw(3);
        for (int i = 0; i < 100_000; i++)
        {
            pickle.Op("h").Raw(2).Op("(h").Raw(1).Op("K").Raw(0).Op("h").Raw(0).Op("h").Raw(0).Raw(0x89).Op("h").Raw(3).Op("tR");
        }

        byte[] file = ZipBuilder.Checkpoint(pickle.End(), new byte[8]).ToArray();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Refused(file);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200L << 20);
    }

    [Fact]
    public void Deep_nesting_does_not_exhaust_the_stack()
    {
        byte[] pickle = PickleBuilder.Dictionary.Text("w").Op(")").Raw([.. Enumerable.Repeat((byte)0x85, 5_000_000)]).End();
        Assert.Contains("no tensor", Refused(ZipBuilder.Checkpoint(pickle).ToArray()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Whatever_happens_to_a_file_the_answer_is_a_tensor_list_or_a_CheckpointException()
    {
        byte[] good = File.ReadAllBytes(TemporaryFolder.Fixture("opt-bin/pytorch_model.bin"));

        // Where the file describes itself: the pickle first, the local headers among the data, the directory last.
        int directory = good.AsSpan().LastIndexOf("pytorch_model/data.pkl"u8) - 46;
        var place = Gen.OneOf(
            Gen.Int[0, 4096], Gen.Int[directory, good.Length - 1], Gen.Int[good.Length - 98, good.Length - 1], Gen.Int[0, good.Length - 1]);
        var value = Gen.OneOf(
            Gen.Byte,
            Gen.OneOfConst<byte>(0, 1, 0x7F, 0x80, 0xFF, (byte)'.', (byte)'R', (byte)'c', (byte)'h', (byte)'t', (byte)'(', (byte)'u'));
        var length = Gen.Frequency((9, Gen.Const(good.Length)), (1, Gen.Int[0, good.Length]));
        int file = 0;
        Gen.Select(Gen.Select(place, value).Array[1, 4], length).Sample((edits, cut) =>
        {
            byte[] bytes = (byte[])good.Clone();
            foreach (var (at, changed) in edits)
            {
                bytes[at] = changed;
            }

            OpenAndReadAll($"fuzz-{Interlocked.Increment(ref file)}", bytes[..cut]);
        }, iter: 3000);
    }

    [Fact]
    public void Whatever_opcodes_stand_in_a_pickle_the_answer_is_a_value_or_a_CheckpointException()
    {
        // Pieces in any order reach deeper than flipped bytes: stacks of the right depth with the wrong things on them.
        byte[][] pieces =
        [
            .. ".(NKM)tae]}suRbQ".Select(opcode => new[] { (byte)opcode }), [0x85], [0x86], [0x87], [0x88], [0x93], [0x94],
            new PickleBuilder().Text("storage").ToArray(), new PickleBuilder().Text("torch").ToArray(),
            new PickleBuilder().Text("_metadata").ToArray(),
            new PickleBuilder().Global("torch", "HalfStorage").ToArray(),
            new PickleBuilder().Global("torch._utils", "_rebuild_tensor_v2").ToArray(),
            new PickleBuilder().OrderedDict().ToArray(), new PickleBuilder().Storage("ByteStorage", "0", 8).ToArray(),
            new PickleBuilder().Tensor("0", "ByteStorage", 8).ToArray(),
            new PickleBuilder().Number(-1).ToArray(), new PickleBuilder().Number(long.MinValue).ToArray(), [(byte)'h', 0], [(byte)'q', 0],
            [(byte)'j', 1, 0, 0, 0], [0x8a, 0],
        ];
        Gen.OneOfConst(pieces).Array[0, 30].Sample(
            parts => Survives(() => StateDictPickle.Read([.. parts.SelectMany(part => part)], "f", "archive/data.pkl")), iter: 20_000);
    }

    private static ZipBuilder Good() => ZipBuilder.Checkpoint(GoodPickle, new byte[8]);

    /// <summary>Adds an entry to the directory of an archive without adding its bytes.</summary>
    private static byte[] Claim(byte[] file, string name, uint header, uint size)
    {
        int end = file.AsSpan().LastIndexOf("PK\x05\x06"u8);
        byte[] entry = new byte[46 + name.Length];
        "PK\x01\x02"u8.CopyTo(entry);
        BitConverter.TryWriteBytes(entry.AsSpan(20), size);
        BitConverter.TryWriteBytes(entry.AsSpan(24), size);
        BitConverter.TryWriteBytes(entry.AsSpan(28), (ushort)name.Length);
        BitConverter.TryWriteBytes(entry.AsSpan(42), header);
        Encoding.UTF8.GetBytes(name, entry.AsSpan(46));
        byte[] tail = file[end..];
        BitConverter.TryWriteBytes(tail.AsSpan(10), (ushort)(BitConverter.ToUInt16(tail, 10) + 1));
        BitConverter.TryWriteBytes(tail.AsSpan(12), BitConverter.ToUInt32(tail, 12) + (uint)entry.Length);
        return [.. file[..end], .. entry, .. tail];
    }

    private static byte[] Tar()
    {
        using var stream = new MemoryStream();
        using (var writer = new TarWriter(stream, TarEntryFormat.Ustar, leaveOpen: true))
        {
            writer.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, "pickle"));
        }

        return stream.ToArray();
    }

    private CheckpointException Refused(byte[] file)
    {
        string path = _folder.Write("broken.bin", file);
        var error = Assert.Throws<CheckpointException>(() => PyTorchFile.Open(path));
        Assert.Equal(path, error.File);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(error.Message, char.IsControl);
        return error;
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
            using var file = PyTorchFile.Open(path);
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
}
