using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Regular structural pruning, for comparison (DISP-LLM, Fig. 1): one vector of gates for all sites on the residual stream, and one for
/// each other site of each block. That short vector is learned and expanded over all gates of the model.
/// </summary>
internal sealed class SharedGates : IDisposable
{
    private readonly Tensor _place;    // [gates], int64: the shared gate of each gate

    public SharedGates(GateLayout layout, Device device)
    {
        int stream = layout.Sites.First(IsOnStream).Size;
        GateRange[] own = [.. layout.Sites.Where(site => !IsOnStream(site))];
        Sizes = [stream, .. own.Select(site => site.Size)];
        Count = Sizes.Sum();

        long[] place = new long[layout.Count];
        int next = stream;
        foreach (var site in layout.Sites)
        {
            int first = IsOnStream(site) ? 0 : next;
            for (int i = 0; i < site.Size; i++)
            {
                place[site.Offset + i] = first + i;
            }

            next += IsOnStream(site) ? 0 : site.Size;
        }

        using var scope = NewDisposeScope();
        _place = tensor(place, ScalarType.Int64).to(device, copy: true).DetachFromDisposeScope();
    }

    /// <summary>The residual stream's size, then the size of each site that has gates of its own.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>Number of shared gates.</summary>
    public int Count { get; }

    /// <summary>Expands <c>[Count]</c> to <c>[gates]</c>; the backward pass adds the gradients up.</summary>
    public Tensor Expand(Tensor shared) => shared.index_select(0, _place);

    /// <summary>Replaces each gate's value by the mean of those that share it: <c>[gates]</c> to <c>[gates]</c>.</summary>
    public Tensor Average(Tensor values)
    {
        Tensor sums = zeros(Count, ScalarType.Float32, values.device).IndexAdd(0, _place, values);
        Tensor counts = zeros(Count, ScalarType.Float32, values.device).IndexAdd(0, _place, ones_like(values));
        return Expand(sums / counts);
    }

    public void Dispose() => _place.Dispose();

    private static bool IsOnStream(GateRange site) => site.Site.Descriptor().IsOnStream;
}
