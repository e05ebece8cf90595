using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// Regular structural pruning, for comparison (DISP-LLM, Fig. 1): one vector of gates for S1, S2, S3 and S5 of all blocks, and one for each
/// block's S4. That short vector is learned and expanded over all gates of the model.
/// </summary>
internal sealed class SharedGates : IDisposable
{
    private readonly Tensor _place;    // [gates], int64: the shared gate of each gate

    public SharedGates(GateLayout layout, Device device)
    {
        int stream = layout[0, SelectionSite.AttentionInput].Size;
        var hidden = layout.Sites.Where(site => site.Site == SelectionSite.MlpHidden).ToArray();
        Sizes = [stream, .. hidden.Select(site => site.Size)];
        Count = Sizes.Sum();

        long[] place = new long[layout.Count];
        foreach (var site in layout.Sites)
        {
            int first = site.Site == SelectionSite.MlpHidden
                ? stream + hidden.Where(other => other.Block < site.Block).Sum(other => other.Size) : 0;
            for (int i = 0; i < site.Size; i++)
            {
                place[site.Offset + i] = first + i;
            }
        }

        using var scope = NewDisposeScope();
        _place = tensor(place, ScalarType.Int64).to(device, copy: true).DetachFromDisposeScope();
    }

    /// <summary>The residual stream's size, then each block's hidden size.</summary>
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
}
