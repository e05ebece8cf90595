using TorchSharp;
using Xunit;

namespace DispLlm.Tests.Devices;

public sealed class TorchBackendTests
{
    private static readonly torch.Device[] TwoCpusAndAThird = [new(DeviceType.CPU, 0), new(DeviceType.CPU, 1), new(DeviceType.CPU, 2)];

    [Fact]
    public void The_default_of_the_CPU_is_float32()
    {
        var backend = TorchBackend.Cpu();
        Assert.Equal(DeviceType.CPU, backend.Device.type);
        Assert.Equal(torch.ScalarType.Float32, backend.ComputeType);
        Assert.Equal("cpu (Float32)", backend.ToString());
        Assert.Equal("cpu (BFloat16)", TorchBackend.Cpu(torch.ScalarType.BFloat16).ToString());
    }

    [Fact]
    public void Auto_uses_a_GPU_in_bfloat16_or_the_CPU_in_float32()
    {
        string expected = torch.cuda.is_available() ? "cuda:0 (BFloat16)" : "cpu (Float32)";
        Assert.Equal(expected, TorchBackend.Auto().ToString());
        Assert.Equal(torch.ScalarType.BFloat16, TorchBackend.Auto(torch.ScalarType.BFloat16).ComputeType);
    }

    [Theory]
    [InlineData(torch.ScalarType.Float16)]
    [InlineData(torch.ScalarType.Float64)]
    [InlineData(torch.ScalarType.Int64)]
    public void Other_compute_types_are_rejected_by_name(torch.ScalarType type)
    {
        foreach (Action create in new Action[]
        {
            () => TorchBackend.Auto(type), () => TorchBackend.Cpu(type), () => TorchBackend.Cuda(0, type), () => TorchBackend.Meta(type),
            () => TorchBackend.DistributeBlocks(TwoCpusAndAThird, type), () => TorchBackend.DistributeOverGpus(null, type),
        })
        {
            var error = Assert.Throws<ArgumentException>("computeType", create);
            Assert.Contains(type.ToString(), error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_error_of_a_missing_GPU_says_what_to_do()
    {
        int available = torch.cuda.is_available() ? torch.cuda.device_count() : 0;
        var error = Assert.Throws<BackendException>(() => TorchBackend.Cuda(available));
        Assert.Contains(available == 0 ? "TorchSharp-cuda-linux" : $"CUDA device {available}", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => TorchBackend.Cuda(-1));
        if (available == 0)
        {
            Assert.Throws<BackendException>(() => TorchBackend.DistributeOverGpus());
            Assert.Throws<BackendException>(() => TorchBackend.DistributeBlocks([new torch.Device(DeviceType.CUDA, 0)]));
        }
    }

    [Theory]
    [InlineData(6, new[] { 0, 0, 1, 1, 2, 2 })]
    [InlineData(7, new[] { 0, 0, 0, 1, 1, 2, 2 })]
    [InlineData(2, new[] { 0, 1 })]
    [InlineData(1, new[] { 0 })]
    public void Blocks_are_distributed_in_contiguous_even_ranges(int blocks, int[] expected)
    {
        var backend = TorchBackend.DistributeBlocks(TwoCpusAndAThird);
        Assert.Equal(0, backend.Device.index);
        Assert.Equal(expected, Enumerable.Range(0, blocks).Select(block => backend.GetBlockDevice(block, blocks).index));
    }

    [Fact]
    public void Large_models_are_distributed_evenly()
    {
        var backend = TorchBackend.DistributeBlocks(TwoCpusAndAThird);
        var shares = Enumerable.Range(0, 80).GroupBy(block => backend.GetBlockDevice(block, 80).index).Select(g => g.Count()).ToList();
        Assert.Equal(3, shares.Count);
        Assert.InRange(shares.Max() - shares.Min(), 0, 1);
    }

    [Fact]
    public void GetBlockDevice_rejects_blocks_that_do_not_exist()
    {
        var backend = TorchBackend.Cpu();
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.GetBlockDevice(-1, 4));
        Assert.Contains("4", Assert.Throws<ArgumentOutOfRangeException>(() => backend.GetBlockDevice(4, 4)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.GetBlockDevice(0, 0));
    }

    [Fact]
    public void DistributeBlocks_rejects_an_empty_list_and_a_mix_with_meta()
    {
        Assert.Throws<ArgumentException>(() => TorchBackend.DistributeBlocks([]));
        var error = Assert.Throws<ArgumentException>(() => TorchBackend.DistributeBlocks([torch.CPU, torch.META]));
        Assert.Contains("cpu, meta", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_backend_copies_the_list_of_devices()
    {
        var devices = new List<torch.Device> { torch.CPU };
        var backend = TorchBackend.DistributeBlocks(devices);
        devices[0] = torch.META;
        Assert.Equal(DeviceType.CPU, backend.Device.type);
    }

    [Fact]
    public void The_meta_device_takes_no_memory()
    {
        var backend = TorchBackend.Meta(torch.ScalarType.BFloat16);
        long before = backend.Memory().ProcessBytes;
        using var scope = torch.NewDisposeScope();

        // Half a terabyte on another device.
        var weight = torch.zeros(1 << 19, 1 << 19, dtype: backend.ComputeType, device: backend.Device);
        var product = torch.mm(weight, weight);
        Assert.Equal(DeviceType.META, product.device_type);
        Assert.Equal([1 << 19, 1 << 19], product.shape);
        Assert.InRange(backend.Memory().ProcessBytes - before, long.MinValue, 1L << 30);
    }

    [Fact]
    public void Memory_counts_tensors_and_bytes()
    {
        var backend = TorchBackend.Cpu();
        var tensors = Enumerable.Range(0, 1000).Select(_ => torch.zeros(1)).ToList();
        var memory = backend.Memory();

        // Other tests create and release tensors at the same time: only those of this test are certain.
        Assert.InRange(memory.LiveTensors, 1000, long.MaxValue);
        Assert.InRange(memory.ProcessBytes, 1 << 20, long.MaxValue);
        Assert.InRange(memory.PeakProcessBytes, 1 << 20, long.MaxValue);
        tensors.ForEach(tensor => tensor.Dispose());
    }

    [Fact]
    public void The_random_source_has_the_given_seed() => Assert.Equal(-7, TorchBackend.Cpu().Random(-7).Seed);
}
