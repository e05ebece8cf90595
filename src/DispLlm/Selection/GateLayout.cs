using System.Globalization;

namespace DispLlm.Modeling;

/// <summary>One selection vector of the model: where its gates stand in the flat vector of all gates.</summary>
/// <param name="Block">Index of the block, from 0.</param>
/// <param name="Site">The site within the block.</param>
/// <param name="Offset">Position of the site's first gate in the flat vector.</param>
/// <param name="Size">Number of gates.</param>
public readonly record struct GateRange(int Block, SelectionSite Site, int Offset, int Size)
{
    /// <inheritdoc/>
    public override string ToString() => $"block {Block} S{(int)Site} ({Site})";
}

/// <summary>
/// All gates of a model as one flat vector, in block order and within a block S1 to S5: the order of the hypernetwork's
/// sequence positions, of scores, and of gate gradients.
/// </summary>
public sealed class GateLayout
{
    /// <summary>Number of selection sites of one block.</summary>
    public const int SitesPerBlock = 5;

    private readonly GateRange[] _ranges;

    /// <summary>Lays out the gates of a model.</summary>
    /// <param name="spec">The model's spec.</param>
    public GateLayout(DecoderSpec spec)
        : this(ModelShape.FromSpec(spec))
    {
    }

    /// <summary>Lays out the gates of a model of which only the shape is known, as in a plan.</summary>
    /// <param name="shape">The model's shape.</param>
    public GateLayout(ModelShape shape)
    {
        ArgumentNullException.ThrowIfNull(shape);
        _ranges = new GateRange[shape.NumLayers * SitesPerBlock];
        int offset = 0;
        for (int i = 0; i < _ranges.Length; i++)
        {
            var site = (SelectionSite)(i % SitesPerBlock + 1);
            int size = shape.SiteSize(site);
            _ranges[i] = new GateRange(i / SitesPerBlock, site, offset, size);
            offset = checked(offset + size);
        }

        Count = offset;
    }

    /// <summary>Number of gates of the model.</summary>
    public int Count { get; }

    /// <summary>The sites in order: block 0 S1 ... S5, block 1 S1 ...</summary>
    public IReadOnlyList<GateRange> Sites => _ranges;

    /// <summary>The range of one site.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="site">The site.</param>
    public GateRange this[int block, SelectionSite site] => _ranges[block * SitesPerBlock + (int)site - 1];

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
