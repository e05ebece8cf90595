using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>A tensor that is created when it is first asked for, copied to each device once, and disposed with this object.</summary>
internal sealed class PerDevice(Func<Tensor> create) : IDisposable
{
    private readonly List<Tensor> _copies = [];

    /// <summary>The tensor on a device.</summary>
    public Tensor On(Device device)
    {
        var copy = _copies.Find(tensor => tensor.device_type == device.type && tensor.device_index == device.index);
        if (copy is null)
        {
            // It outlives the dispose scope of the block that asks first.
            using var scope = NewDisposeScope();
            _copies.Add(copy = create().to(device, copy: true).DetachFromDisposeScope());
        }

        return copy;
    }

    public void Dispose() => _copies.ForEach(copy => copy.Dispose());
}
