namespace DispLlm.Modeling;

/// <summary>
/// What every block has to keep in a layout and under constraints: sites that do not select whole, elsewhere one chunk, and as many
/// parameters as its largest ratio leaves. Widths grow in chunks of the width multiple.
/// </summary>
internal sealed class BlockFloors
{
    private readonly ParameterCounter _counter;
    private readonly BudgetConstraints _constraints;
    private readonly ParameterScope _scope;
    private readonly PruningLayout _layout;
    private readonly int _multiple;

    // Hidden features and groups before the sites whose costs follow from them.
    private static readonly SelectionSite[] s_order =
    [
        SelectionSite.MlpHidden, SelectionSite.MlpOutput, SelectionSite.MlpInput,
        SelectionSite.AttentionGroups, SelectionSite.AttentionOutput, SelectionSite.AttentionInput,
    ];

    public BlockFloors(ParameterCounter counter, BudgetProjectionOptions options, ParameterScope scope)
    {
        options.Constraints.Validate(counter.Shape.NumLayers);
        (_counter, _constraints, _scope, _layout) = (counter, options.Constraints, scope, options.Layout);
        _multiple = options.WidthMultiple;
        long dense = Count(counter.Shape.DenseWidths);
        Floors = [.. Enumerable.Range(0, counter.Shape.NumLayers).Select(block =>
            dense - (long)Math.Floor(dense * (decimal)_constraints.MaxRatioOf(block)))];
    }

    /// <summary>The fewest parameters of each block in the scope; 0 where there is no limit.</summary>
    public IReadOnlyList<long> Floors { get; }

    /// <summary>The smallest widths, floors aside: excluded sites whole, one chunk of the others.</summary>
    public SiteMap<int>[] Smallest() =>
        [.. Enumerable.Range(0, Floors.Count).Select(block => SiteMap.Create(site => Smallest(block, site)))];

    /// <summary>How many indices of a site are one chunk.</summary>
    public int Multiple(SelectionSite site) => _layout.Multiple(site, _multiple, _counter.Shape);

    /// <summary>A width grown by one chunk.</summary>
    public int Wider(int width, SelectionSite site) => (int)Math.Min((long)width + Multiple(site), Size(site));

    /// <summary>The parameters of a block that follow from its widths, in the scope.</summary>
    public long Count(SiteMap<int> widths)
    {
        // Site after site: a site's cost depends on those that are there already.
        long count = 0;
        var present = SiteMap.Create(_ => 0);
        foreach (var site in SelectionSites.All)
        {
            count = checked(count + widths[site] * _counter.CostPerIndex(site, present, _scope));
            present = present.With(site, widths[site]);
        }

        return count;
    }

    /// <summary>
    /// Widths that contain the given ones and reach a block's floor, by less than a chunk too much wherever attention's sites are not full.
    /// </summary>
    public SiteMap<int> Complete(int block, SiteMap<int> widths)
    {
        long missing = Floors[block] - Count(widths);
        void Grow(SelectionSite site, long chunks)
        {
            int width = (int)Math.Min(widths[site] + chunks * Multiple(site), Size(site));
            missing -= (width - widths[site]) * _counter.CostPerIndex(site, widths, _scope);
            widths = widths.With(site, width);
        }

        foreach (var site in s_order.Where(_ => missing > 0))
        {
            Grow(site, missing / (Multiple(site) * Math.Max(1, _counter.CostPerIndex(site, widths, _scope))));
        }

        while (missing > 0)
        {
            Grow(s_order.Where(site => widths[site] < Size(site)).MinBy(site =>
                (Wider(widths[site], site) - widths[site]) * _counter.CostPerIndex(site, widths, _scope)), 1);
        }

        return widths;
    }

    private int Smallest(int block, SelectionSite site) =>
        !_layout.Selects(site) || _constraints.Excludes(block, site, Floors.Count) ? Size(site)
        : site.Descriptor().FewestKept > 0 ? Wider(0, site)
        : Math.Min(_constraints.MinAttentionGroups, Size(site));

    private int Size(SelectionSite site) => _counter.Shape.SiteSize(site);
}
