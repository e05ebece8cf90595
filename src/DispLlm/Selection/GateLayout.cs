using System.Globalization;

namespace DispLlm.Modeling;

/// <summary>One selection vector of the model: where its gates are in the flat vector of all gates.</summary>
/// <param name="Block">Index of the block, from 0.</param>
/// <param name="Site">The site within the block.</param>
/// <param name="Offset">Position of the site's first gate in the flat vector.</param>
/// <param name="Size">Number of gates.</param>
public readonly record struct GateRange(int Block, SelectionSite Site, int Offset, int Size)
{
    /// <inheritdoc/>
    public override string ToString() => $"block {Block} {Site.Label()}";
}

/// <summary>
/// All gates of a model as one flat vector, in block order and within a block in the order of <see cref="SelectionSites.All"/>: the order
/// of the hypernetwork's sequence positions, of scores, and of gate gradients. Immutable and safe from several threads.
/// </summary>
public sealed class GateLayout
{
    private readonly GateRange[] _ranges;

    /// <summary>Lays out the gates of a model.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <exception cref="SelectionException">A size is not positive, or there are more gates than an array can hold.</exception>
    public GateLayout(DecoderSpec spec)
        : this(ModelShape.FromSpec(spec))
    {
    }

    /// <summary>Lays out the gates of a model of which only the shape is known, as in a plan.</summary>
    /// <param name="shape">The model's shape.</param>
    /// <exception cref="SelectionException">A size is not positive, or there are more gates than an array can hold.</exception>
    public GateLayout(ModelShape shape)
    {
        ArgumentNullException.ThrowIfNull(shape);
        shape.EnsureValid();
        Model = shape;
        _ranges = new GateRange[shape.NumLayers * SelectionSites.Count];
        int offset = 0;
        for (int i = 0; i < _ranges.Length; i++)
        {
            var site = SelectionSites.All[i % SelectionSites.Count];
            int size = shape.SiteSize(site);
            _ranges[i] = new GateRange(i / SelectionSites.Count, site, offset, size);
            offset += size;
        }

        Count = offset;
    }

    /// <summary>The shape of the model whose gates these are.</summary>
    internal ModelShape Model { get; }

    /// <summary>Number of gates of the model.</summary>
    public int Count { get; }

    /// <summary>The sites of all blocks, in order: all of block 0, then all of block 1, ...</summary>
    public IReadOnlyList<GateRange> Sites => _ranges;

    /// <summary>The range of one site.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="site">The site.</param>
    public GateRange this[int block, SelectionSite site] => _ranges[block * SelectionSites.Count + SelectionSites.IndexOf(site)];

    /// <summary>A copy of values of all gates; refuses them where they are too few, too many or not finite.</summary>
    internal float[] FiniteCopy(ReadOnlySpan<float> values, string what)
    {
        if (values.Length != Count)
        {
            throw new SelectionException($"There are {values.Length} {what}s for a model of {Count} gates.");
        }

        foreach (var range in _ranges)
        {
            var site = values.Slice(range.Offset, range.Size);
            for (int i = 0; i < site.Length; i++)
            {
                if (!float.IsFinite(site[i]))
                {
                    throw new SelectionException(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{range}: the {what} of gate {i} is {site[i]}; {what}s must be finite."));
                }
            }
        }

        return values.ToArray();
    }
}
