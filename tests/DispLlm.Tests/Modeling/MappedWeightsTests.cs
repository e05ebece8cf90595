using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>Weights kept in the mapped file behave as weights that were copied.</summary>
public sealed class MappedWeightsTests
{
    private const string Single = "llama-mha";
    private const string Sharded = "llama-sharded-bf16";
    private const string Pickled = "opt-bin";

    private static readonly LoadOptions s_copied = new() { MapWeights = false };

    [Theory]
    [InlineData(Single, ScalarType.Float32)]
    [InlineData(Sharded, ScalarType.BFloat16)]
    [InlineData(Sharded, ScalarType.Float32)]
    [InlineData(Pickled, ScalarType.Float32)]
    public void Logits_and_live_tensors_are_the_same(string name, ScalarType type)
    {
        using var fixture = new Fixture(name);
        using var tokens = fixture.Expected("input_ids");
        long before = LiveTensors.Before();
        (byte[] Logits, long Live) Run(LoadOptions options)
        {
            using var noGradient = no_grad();
            using var model = PrunableModel.Load(fixture.Folder, TorchBackend.Cpu(type), options);
            using var logits = model.Logits(tokens);
            return (logits.bytes.ToArray(), Tensor.TotalCount - before);
        }

        var (mapped, copied) = (Run(new LoadOptions()), Run(s_copied));
        Assert.Equal(copied.Logits, mapped.Logits);
        Assert.Equal(copied.Live, mapped.Live);
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Theory]
    [InlineData(Single, ScalarType.Float32)]
    [InlineData(Sharded, ScalarType.BFloat16)]
    public void Files_may_go_or_be_replaced_while_the_model_lives(string name, ScalarType type)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows keeps a mapped file.");
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        using var tokens = fixture.Expected("input_ids");
        CopyTo(folder, name);
        using var model = PrunableModel.Load(folder.Path, TorchBackend.Cpu(type));
        using var copy = PrunableModel.Load(folder.Path, TorchBackend.Cpu(type), s_copied);
        foreach (string file in Directory.GetFiles(folder.Path, "*.safetensors"))
        {
            AtomicFile.Write(file, new byte[64].AsSpan());
            File.Delete(file);
        }

        using var noGradient = no_grad();
        using Tensor expected = copy.Logits(tokens), logits = model.Logits(tokens);
        Assert.Equal(expected.bytes, logits.bytes);
    }

    [Fact]
    public void A_weight_outlives_its_model_and_the_map_goes_with_the_last_of_them()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux lists what is mapped.");
        using var folder = new TemporaryFolder();
        CopyTo(folder, Single);
        long before = LiveTensors.Before();
        Tensor kept;
        byte[] expected;
        using (var model = PrunableModel.Load(folder.Path))
        {
            using var rows = model.Weight(WeightRole.MlpDown, 0).narrow(0, 0, 2);
            expected = rows.bytes.ToArray();
            kept = rows.alias();
            Assert.True(IsMapped(folder));
        }

        Assert.True(IsMapped(folder));
        Assert.Equal(expected, kept.bytes);
        kept.Dispose();
        Assert.False(IsMapped(folder));
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void Copied_and_converted_weights_leave_nothing_mapped()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux lists what is mapped.");
        using var folder = new TemporaryFolder();
        CopyTo(folder, Single);
        using var copied = PrunableModel.Load(folder.Path, options: s_copied);
        using var converted = PrunableModel.Load(folder.Path, TorchBackend.Cpu(ScalarType.BFloat16));
        Assert.False(IsMapped(folder));
    }

    [Fact]
    public void What_is_written_into_a_weight_does_not_reach_the_file()
    {
        using var folder = new TemporaryFolder();
        CopyTo(folder, Single);
        string file = folder.Below("model.safetensors");
        byte[] before = File.ReadAllBytes(file);
        using (var model = PrunableModel.Load(folder.Path))
        using (var other = PrunableModel.Load(folder.Path))
        {
            using var scope = NewDisposeScope();
            Tensor weight = model.Weight(WeightRole.MlpDown, 0), same = other.Weight(WeightRole.MlpDown, 0);
            weight.add_(1);
            Assert.True((weight - same - 1).abs().max().ToDouble() < 1e-6);
        }

        Assert.Equal(before, File.ReadAllBytes(file));
    }

    [Fact]
    public void A_tensor_that_lies_at_an_odd_place_is_copied_and_right()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux lists what is mapped.");
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        string path = folder.Below("odd.safetensors");
        using Tensor bytes = ones(3, ScalarType.Byte), numbers = arange(8, ScalarType.Float32), none = empty(0, ScalarType.Float32);
        using (var writer = SafetensorsWriter.Create(
            path, [new("bytes", ScalarType.Byte, [3]), new("numbers", ScalarType.Float32, [8]), new("none", ScalarType.Float32, [0])]))
        {
            writer.Write("bytes", bytes);
            writer.Write("numbers", numbers);
            writer.Write("none", none);
            writer.Complete();
        }

        using var file = SafetensorsFile.Open(path);
        Assert.Null(file.TryMap("none", null, ScalarType.Float32));
        using (Tensor odd = file.TryMap("numbers", null, ScalarType.Float32) ?? file.Read("numbers"), missing = file.Read("none"))
        {
            Assert.Equal(numbers.bytes, odd.bytes);
            Assert.Equal([0L], missing.shape);
        }

        using var aligned = file.TryMap("bytes", null, ScalarType.Byte)!;
        file.Dispose();
        Assert.True(IsMapped(folder));
        Assert.Equal(bytes.bytes, aligned.bytes);
    }

    private static bool IsMapped(TemporaryFolder folder) =>
        File.ReadAllText("/proc/self/maps").Contains(folder.Path, StringComparison.Ordinal);

    private static void CopyTo(TemporaryFolder folder, string fixture)
    {
        foreach (string file in Directory.GetFiles(Fixture.GetFolder(fixture)).Where(
            file => !Path.GetFileName(file).StartsWith("expected", StringComparison.Ordinal)))
        {
            File.Copy(file, folder.Below(Path.GetFileName(file)));
        }
    }
}
