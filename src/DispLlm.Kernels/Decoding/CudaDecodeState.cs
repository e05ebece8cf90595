using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>What decoding on GPUs keeps for one cache: the captured graph, and the padding on each device.</summary>
internal sealed class CudaDecodeState : IDecodeState
{
    private readonly List<Tensor> _padding = [];

    /// <summary>The captured graph; null where there is none yet.</summary>
    public CapturedDecodeGraph? Graph { get; set; }

    /// <summary>Decode steps in the present tensors of the cache.</summary>
    public int Steps { get; set; }

    /// <summary>Whether a capture has failed.</summary>
    public bool CannotBeCaptured { get; set; }

    /// <summary>The state of a cache, created where it has none.</summary>
    public static CudaDecodeState For(IKeyValueMemory memory)
    {
        if (memory.DecodeState is not CudaDecodeState state)
        {
            memory.DecodeState = state = new CudaDecodeState();
        }

        return state;
    }

    /// <summary>The padding of each row, <c>[batch]</c>, int32, on a device.</summary>
    public Tensor PaddingOn(Device device, IReadOnlyList<int> padding)
    {
        var present = _padding.Find(counts => counts.device_type == device.type && counts.device_index == device.index);
        if (present is null)
        {
            using Tensor host = tensor([.. padding], ScalarType.Int32);
            _padding.Add(present = host.to(device, copy: true).DetachFromDisposeScope());
        }

        return present;
    }

    /// <inheritdoc/>
    public void Invalidate()
    {
        Graph?.Dispose();
        Graph = null;
        Steps = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Invalidate();
        _padding.ForEach(counts => counts.Dispose());
        _padding.Clear();
    }
}
