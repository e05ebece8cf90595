using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TorchSharp;

namespace DispLlm;

/// <summary>
/// The backend of TorchSharp: the CPU, a GPU, several devices with the blocks distributed over them, or the <c>meta</c> device, whose
/// tensors have shapes but no data.
/// </summary>
/// <remarks>Immutable and thread-safe.</remarks>
public sealed class TorchBackend : ITensorBackend
{
    private readonly torch.Device[] _devices;

    private TorchBackend(torch.Device[] devices, torch.ScalarType computeType, ILogger? logger)
    {
        _devices = devices;
        ComputeType = computeType;
        logger ??= NullLogger.Instance;
        logger.LogInformation("Tensors are on {Backend}.", this);

        // Compiled here, so that a problem is reported where the device is chosen.
        foreach (var device in devices.Where(device => device.type == DeviceType.CUDA).DistinctBy(Name))
        {
            if (CudaProgram.TryCreate(Math.Max(device.index, 0), computeType).Missing is { } missing)
            {
                logger.LogWarning(
                    "{Device} has no CUDA kernels of DispLlm and uses libtorch's operators, which take longer: {Missing}.", Name(device),
                    missing);
            }
        }
    }

    /// <inheritdoc/>
    public torch.Device Device => _devices[0];

    /// <inheritdoc/>
    public torch.ScalarType ComputeType { get; }

    /// <summary>The first GPU if there is one, else the CPU.</summary>
    /// <param name="computeType">
    /// Float32 or bfloat16; by default bfloat16 on a GPU and float32 on the CPU.
    /// </param>
    /// <param name="logger">Receives the chosen device; null for none.</param>
    /// <exception cref="ArgumentException">The compute type is neither float32 nor bfloat16.</exception>
    /// <exception cref="NativeTorchException">TorchSharp's native libraries are missing or cannot be loaded.</exception>
    public static TorchBackend Auto(torch.ScalarType? computeType = null, ILogger? logger = null)
    {
        if (computeType is { } wanted)
        {
            CheckComputeType(wanted);
        }

        NativeTorch.EnsureLoaded(logger);
        return CudaDevices() > 0
            ? Cuda(0, computeType ?? torch.ScalarType.BFloat16, logger)
            : Cpu(computeType ?? torch.ScalarType.Float32, logger);
    }

    /// <summary>The CPU.</summary>
    /// <param name="computeType">Float32 (the default) or bfloat16.</param>
    /// <param name="logger">Receives the chosen device; null for none.</param>
    /// <exception cref="ArgumentException">The compute type is neither float32 nor bfloat16.</exception>
    /// <exception cref="NativeTorchException">TorchSharp's native libraries are missing or cannot be loaded.</exception>
    public static TorchBackend Cpu(torch.ScalarType computeType = torch.ScalarType.Float32, ILogger? logger = null)
    {
        CheckComputeType(computeType);
        NativeTorch.EnsureLoaded(logger);
        return new TorchBackend([torch.CPU], computeType, logger);
    }

    /// <summary>One GPU.</summary>
    /// <param name="index">The index of the GPU, from 0.</param>
    /// <param name="computeType">Float32 (the default) or bfloat16.</param>
    /// <param name="logger">Receives the chosen device; null for none.</param>
    /// <exception cref="ArgumentException">The compute type is neither float32 nor bfloat16, or the index is negative.</exception>
    /// <exception cref="BackendException">There is no such GPU.</exception>
    /// <exception cref="NativeTorchException">TorchSharp's native libraries are missing or cannot be loaded.</exception>
    public static TorchBackend Cuda(int index = 0, torch.ScalarType computeType = torch.ScalarType.Float32, ILogger? logger = null) =>
        DistributeOverGpus([index], computeType, logger);

    /// <summary>
    /// Blocks distributed evenly over several GPUs, in contiguous ranges; the first also has the embeddings and the head.
    /// </summary>
    /// <param name="indices">The indices of the GPUs, from 0, in the order of the blocks; null (the default) for all.</param>
    /// <param name="computeType">Float32 (the default) or bfloat16.</param>
    /// <param name="logger">Receives the chosen device; null for none.</param>
    /// <exception cref="ArgumentException">The compute type is neither float32 nor bfloat16, or an index is negative.</exception>
    /// <exception cref="BackendException">There is no such GPU.</exception>
    /// <exception cref="NativeTorchException">TorchSharp's native libraries are missing or cannot be loaded.</exception>
    public static TorchBackend DistributeOverGpus(
        IReadOnlyList<int>? indices = null, torch.ScalarType computeType = torch.ScalarType.Float32, ILogger? logger = null)
    {
        foreach (int index in indices ?? [])
        {
            ArgumentOutOfRangeException.ThrowIfNegative(index, nameof(indices));
        }

        CheckComputeType(computeType);
        NativeTorch.EnsureLoaded(logger);

        // Checked before a device is created: TorchSharp's message for a missing GPU names neither packages nor their number.
        int available = CudaDevices();
        CheckCuda(indices?.Count > 0 ? indices.Max() : 0, available);
        indices ??= [.. Enumerable.Range(0, available)];
        return DistributeBlocks([.. indices.Select(index => new torch.Device(DeviceType.CUDA, index))], computeType, logger);
    }

    /// <summary>
    /// The <c>meta</c> device: a forward pass of any size checks shapes and takes no memory. Reading a number is an error.
    /// </summary>
    /// <param name="computeType">Float32 (the default) or bfloat16.</param>
    /// <param name="logger">Receives the chosen device; null for none.</param>
    /// <exception cref="ArgumentException">The compute type is neither float32 nor bfloat16.</exception>
    /// <exception cref="NativeTorchException">TorchSharp's native libraries are missing or cannot be loaded.</exception>
    public static TorchBackend Meta(torch.ScalarType computeType = torch.ScalarType.Float32, ILogger? logger = null)
    {
        CheckComputeType(computeType);
        NativeTorch.EnsureLoaded(logger);
        return new TorchBackend([torch.META], computeType, logger);
    }

    /// <summary>
    /// Blocks distributed evenly over devices, in contiguous ranges, so that activations move once per device. A device may be in the list
    /// more than once, for a larger share.
    /// </summary>
    /// <param name="devices">
    /// The devices in the order of the blocks; the first also has the embeddings and the head. To create a device loads TorchSharp: call
    /// <see cref="NativeTorch.EnsureLoaded"/> before, or use <see cref="DistributeOverGpus"/>.
    /// </param>
    /// <param name="computeType">Float32 (the default) or bfloat16.</param>
    /// <param name="logger">Receives the chosen device; null for none.</param>
    /// <exception cref="ArgumentException">
    /// The compute type is neither float32 nor bfloat16, the list is empty, or it mixes <c>meta</c> with other devices.
    /// </exception>
    /// <exception cref="BackendException">There is no such GPU.</exception>
    /// <exception cref="NativeTorchException">TorchSharp's native libraries are missing or cannot be loaded.</exception>
    public static TorchBackend DistributeBlocks(
        IReadOnlyList<torch.Device> devices, torch.ScalarType computeType = torch.ScalarType.Float32, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(devices);
        CheckComputeType(computeType);
        if (devices.Count == 0)
        {
            throw new ArgumentException("Blocks cannot be distributed over an empty list of devices.", nameof(devices));
        }

        NativeTorch.EnsureLoaded(logger);
        int metas = devices.Count(device => device.type == DeviceType.META);
        if (metas != 0 && metas != devices.Count)
        {
            throw new ArgumentException(
                $"The meta device cannot be mixed with others: {string.Join(", ", devices.Select(Name))}.", nameof(devices));
        }

        if (devices.Where(device => device.type == DeviceType.CUDA).Select(device => device.index).ToList() is { Count: > 0 } cuda)
        {
            CheckCuda(cuda.Max(), CudaDevices());
        }

        return new TorchBackend([.. devices], computeType, logger);
    }

    /// <inheritdoc/>
    public torch.Device GetBlockDevice(int block, int blocks)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        ArgumentOutOfRangeException.ThrowIfNegative(block);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(block, blocks);
        return _devices[(int)((long)block * _devices.Length / blocks)];
    }

    /// <inheritdoc/>
    public BackendMemory Memory()
    {
        using var process = Process.GetCurrentProcess();
        return new BackendMemory(torch.Tensor.TotalCount, process.WorkingSet64, process.PeakWorkingSet64)
        {
            AvailableBytes = Available(process.WorkingSet64),
        };
    }

    /// <inheritdoc/>
    public RandomSource Random(long seed) => new(seed);

    /// <summary>Devices and compute type, for instance <c>cuda:0, cuda:1 (BFloat16)</c>.</summary>
    public override string ToString() => $"{string.Join(", ", _devices.Select(Name))} ({ComputeType})";

    private static string Name(torch.Device device)
    {
#pragma warning disable CA1308 // Device names are lower case wherever users meet them.
        string name = device.type.ToString().ToLowerInvariant();
#pragma warning restore CA1308
        return device.type == DeviceType.CUDA ? $"{name}:{Math.Max(device.index, 0)}" : name;
    }

    /// <summary>The available memory of all devices, each counted once; null where one is unknown.</summary>
    private long? Available(long resident) => _devices.DistinctBy(Name).Aggregate((long?)0, (sum, device) => sum + device.type switch
    {
        DeviceType.CPU => Math.Max(0, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - resident),
        DeviceType.CUDA => CudaDriver.Current?.FreeBytes(Math.Max(device.index, 0)),
        _ => null,
    });

    private static int CudaDevices() => torch.cuda.is_available() ? torch.cuda.device_count() : 0;

    private static void CheckCuda(int index, int available)
    {
        if (available == 0)
        {
            throw new BackendException(
                "No CUDA device is available. The application needs the package TorchSharp-cuda-linux or TorchSharp-cuda-windows in place "
                + "of TorchSharp-cpu, and the machine an NVIDIA GPU that CUDA_VISIBLE_DEVICES does not hide and a driver that is new enough. "
                + "TorchBackend.Auto() uses a GPU only if there is one, TorchBackend.Cpu() none.");
        }

        if (index >= available)
        {
            throw new BackendException($"There is no CUDA device {index}: this process sees {available}, numbered from 0.");
        }
    }

    private static void CheckComputeType(torch.ScalarType computeType)
    {
        // Float16 is not supported: its range is too small for the residual stream of larger models.
        if (computeType is not (torch.ScalarType.Float32 or torch.ScalarType.BFloat16))
        {
            throw new ArgumentException($"The compute type must be Float32 or BFloat16, not {computeType}.", nameof(computeType));
        }
    }
}
