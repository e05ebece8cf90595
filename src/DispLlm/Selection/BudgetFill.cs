namespace DispLlm.Modeling;

/// <summary>Some gates of one group of sites, taken together.</summary>
/// <param name="Score">Mean score of its gates.</param>
/// <param name="Group">Which group, in layout order.</param>
/// <param name="Index">Which chunk of its group, from 0 for the best.</param>
internal readonly record struct BudgetChunk(double Score, int Group, int Index) : IComparable<BudgetChunk>
{
    public int CompareTo(BudgetChunk other)
    {
        int order = other.Score.CompareTo(Score);
        order = order != 0 ? order : Group.CompareTo(other.Group);
        return order != 0 ? order : Index.CompareTo(other.Index);
    }
}

/// <summary>
/// Widens sites chunk by chunk. One pass in the order of the scores finds the threshold and fills what it leaves: up to the threshold
/// every chunk fits, since counts only grow. A chunk that does not fit closes its group, because the rest of the budget only shrinks
/// and costs only rise as other sites widen. What a block lacks below its floor is reserved for it, so that no other block can take it.
/// </summary>
internal sealed class BudgetFill
{
    private readonly ParameterCounter _counter;
    private readonly GateLayout _layout;
    private readonly IReadOnlyList<int[]> _groups;
    private readonly BlockFloors _floors;
    private readonly long _costOfStream;
    private readonly ParameterScope _scope;
    private readonly SiteMap<int>[] _widths;
    private readonly long[] _reserved;
    private long _rest;

    public BudgetFill(ParameterCounter counter, GateLayout gates, IReadOnlyList<int[]> groups, BlockFloors floors, PruningLayout layout,
        ParameterScope scope, long target)
    {
        (_counter, _layout, _groups, _floors, _scope) = (counter, gates, groups, floors, scope);
        _costOfStream = counter.StreamCost(layout, scope);
        _widths = floors.Smallest();
        _reserved = [.. _widths.Select((_, block) => Reserve(block))];
        _rest = target - counter.Count(_widths, layout)[scope] - _reserved.Sum();
    }

    public SiteMap<int>[] Fill(BudgetChunk[] chunks)
    {
        foreach (var chunk in chunks.Where(chunk => _reserved[GetBlock(chunk)] > 0))
        {
            TryTake(chunk);
        }

        for (int block = 0; block < _widths.Length; block++)
        {
            _widths[block] = _reserved[block] > 0 ? _floors.Complete(block, _widths[block]) : _widths[block];
            _reserved[block] = 0;
        }

        foreach (var chunk in chunks)
        {
            TryTake(chunk);
        }

        NarrowWithoutAttention();
        return _widths;
    }

    /// <summary>
    /// Without groups, what attention would read and write costs nothing and means nothing: as little as possible is kept.
    /// </summary>
    private void NarrowWithoutAttention()
    {
        var smallest = _floors.Smallest();
        bool writesNothing = _counter.Shape is { AttentionOutputBias: false, OutputNorms: false };
        for (int block = 0; block < _widths.Length; block++)
        {
            if (_widths[block][SelectionSite.AttentionGroups] == 0)
            {
                _widths[block] = _widths[block].With(SelectionSite.AttentionInput, smallest[block][SelectionSite.AttentionInput]);
                _widths[block] = !writesNothing ? _widths[block]
                    : _widths[block].With(SelectionSite.AttentionOutput, smallest[block][SelectionSite.AttentionOutput]);
            }
        }
    }

    private int GetBlock(BudgetChunk chunk) => _layout.Sites[_groups[chunk.Group][0]].Block;

    private long Reserve(int block)
    {
        long count = _floors.Floors[block] == 0 ? 0 : _floors.Count(_widths[block]);
        return count >= _floors.Floors[block] ? 0 : _floors.Count(_floors.Complete(block, _widths[block])) - count;
    }

    private void TryTake(BudgetChunk chunk)
    {
        int[] group = _groups[chunk.Group];
        var first = _layout.Sites[group[0]];
        int multiple = _floors.Multiple(first.Site), width = _widths[first.Block][first.Site];
        if (chunk.Index != (width + multiple - 1L) / multiple)
        {
            // The first chunk, which is kept anyway, or one whose predecessor did not fit.
            return;
        }

        // No two sites of a group multiply each other in the count, so that their costs add.
        long cost = group.Length > 1 ? (_floors.Wider(width, first.Site) - width) * _costOfStream : 0;
        foreach (int place in group)
        {
            var site = _layout.Sites[place];
            var block = _widths[site.Block];
            long more = _floors.Wider(block[site.Site], site.Site) - block[site.Site];
            cost = checked(cost + more * _counter.CostPerIndex(site.Site, block, _scope));
        }

        var before = _widths[first.Block];
        if (_reserved[first.Block] > 0)
        {
            _widths[first.Block] = before.With(first.Site, _floors.Wider(before[first.Site], first.Site));
            long reserved = Reserve(first.Block);
            _widths[first.Block] = before;
            cost += reserved - _reserved[first.Block];
            _reserved[first.Block] = cost <= _rest ? reserved : _reserved[first.Block];
        }

        if (cost <= _rest)
        {
            _rest -= cost;
            foreach (int place in group)
            {
                var site = _layout.Sites[place];
                ref var block = ref _widths[site.Block];
                block = block.With(site.Site, _floors.Wider(block[site.Site], site.Site));
            }
        }
    }
}
