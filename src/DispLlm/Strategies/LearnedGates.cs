using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// The gates that a layout learns, as one short vector, and their places among all gates of a model: one vector for each site that selects,
/// or one for all sites of the residual stream where they share a selection. Gates of other sites stay open and are not learned.
/// </summary>
internal sealed class LearnedGates : IDisposable
{
    private readonly Tensor _place;    // [gates], int64: the learned gate of each gate; Count for none
    private readonly Tensor _first;    // [Count], int64: the first gate that each learned gate stands for
    private readonly bool _isShared;
    private readonly (int Offset, int Size, int PerBlock)? _oneWidth;

    public LearnedGates(GateLayout gates, PruningLayout layout, Device device)
    {
        _isShared = layout.HasOneStream();
        var hidden = gates[0, SelectionSite.MlpHidden];
        _oneWidth = layout.HasOneMlpWidth() ? (hidden.Offset, hidden.Size, gates.Count / gates.Model.NumLayers) : null;
        bool IsShared(GateRange site) => layout.Shares(site.Site);
        int stream = _isShared ? gates.Model.HiddenSize : 0;
        GateRange[] own = [.. gates.Sites.Where(site => layout.Selects(site.Site) && !IsShared(site))];
        Sizes = [.. _isShared ? [stream] : Array.Empty<int>(), .. own.Select(site => site.Size)];
        Count = Sizes.Sum();

        long[] place = [.. Enumerable.Repeat((long)Count, gates.Count)];
        void Put(GateRange site, int first)
        {
            for (int i = 0; i < site.Size; i++)
            {
                place[site.Offset + i] = first + i;
            }
        }

        int next = stream;
        foreach (var site in own)
        {
            Put(site, next);
            next += site.Size;
        }

        foreach (var site in gates.Sites.Where(IsShared))
        {
            Put(site, 0);
        }

        // The first gate of each learned one: what stands there counts for all that share it.
        long[] first = new long[Count];
        for (int gate = place.Length - 1; gate >= 0; gate--)
        {
            if (place[gate] < Count)
            {
                first[place[gate]] = gate;
            }
        }

        using var scope = NewDisposeScope();
        _first = tensor(first, ScalarType.Int64).to(device, copy: true).DetachFromDisposeScope();
        _place = tensor(place, ScalarType.Int64).to(device, copy: true).DetachFromDisposeScope();
    }

    /// <summary>How many gates each of the learned vectors has.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>Where the gates live.</summary>
    public Device Device => _place.device;

    /// <summary>Number of learned gates.</summary>
    public int Count { get; }

    /// <summary>
    /// Expands <c>[Count]</c> to <c>[gates]</c>, with 0 for gates that are not learned; the backward pass adds up the gradients of those
    /// that share one.
    /// </summary>
    public Tensor Expand(Tensor learned) => cat([learned, zeros(1, learned.dtype, learned.device)]).index_select(0, _place);

    /// <summary>
    /// Where all blocks have one MLP width: logits moved, block by block, so that as many are above a threshold in one block as in any
    /// other. What is sampled is then about as wide everywhere as what will be kept. The moves have no gradient of their own.
    /// </summary>
    /// <param name="logits"><c>[gates]</c>.</param>
    /// <param name="threshold">The logit of a gate that is as often open as closed.</param>
    public Tensor EqualizeWidths(Tensor logits, double threshold)
    {
        if (_oneWidth is not var (offset, size, perBlock))
        {
            return logits;
        }

        Tensor blocks = logits.view(-1, perBlock), hidden = blocks.narrow(1, offset, size).detach();
        long open = (long)Math.Round(hidden.GreaterOrEqual(threshold).to(ScalarType.Float32).sum([1L]).mean([0L]).ReadDouble());
        Tensor last = hidden.sort(1, descending: true).Values.narrow(1, Math.Clamp(open - 1, 0, size - 1), 1);
        Tensor moved = zeros_like(blocks);
        moved.narrow(1, offset, size).copy_((last.mean([0L], keepdim: true) - last).expand(-1, size));
        return logits.Add(moved.view(-1));
    }

    /// <summary><c>[gates]</c>: 1 where a gate is learned, 0 where it stays open.</summary>
    public Tensor Mask() => _place.GreaterOrEqual(Count).logical_not().to(ScalarType.Float32);

    /// <summary>
    /// Gives every gate the sum over those that share one with it, as the gradient of the shared one: <c>[gates]</c> to <c>[gates]</c>.
    /// Values of gates that are not learned become 0.
    /// </summary>
    public Tensor Sum(Tensor values) => _isShared ? Expand(Gather(values)) : values * Mask();

    /// <summary>The mean of every learned gate's values: <c>[gates]</c> to <c>[gates]</c>.</summary>
    public Tensor Average(Tensor values) => _isShared ? Expand(Gather(values) / Gather(ones_like(values))) : values * Mask();

    /// <summary>Gives every gate the value of the first that shares one with it: <c>[gates]</c> to <c>[gates]</c>.</summary>
    public Tensor Share(Tensor values) => _isShared ? Expand(values.index_select(0, _first)) : values;

    public void Dispose()
    {
        _place.Dispose();
        _first.Dispose();
    }

    private Tensor Gather(Tensor values) =>
        zeros(Count + 1, ScalarType.Float32, values.device).IndexAdd(0, _place, values).narrow(0, 0, Count);
}
