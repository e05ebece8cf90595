using System.Globalization;
using TorchSharp;

namespace DispLlm.Modeling;

/// <summary>
/// What each gate of a model multiplies its feature by where it is open; 1 leaves the feature as it is. There is a scale for closed gates
/// too, so that a plan's lists may be edited without them. Scales cost the pruned model nothing: cutting multiplies the weights by them,
/// and rounds to the checkpoint's type. Immutable, all finite, and safe from several threads.
/// </summary>
public sealed class FeatureScales : IEquatable<FeatureScales>
{
    // More digits mean nothing, and people read plans.
    private const int Decimals = 4;

    private readonly float[] _values;

    /// <summary>Takes a copy of the scales.</summary>
    /// <param name="layout">Where the gates of each site are.</param>
    /// <param name="values">The scales, <c>[layout.Count]</c>.</param>
    /// <exception cref="SelectionException">Wrong number of scales, or one that is not finite.</exception>
    public FeatureScales(GateLayout layout, ReadOnlySpan<float> values)
    {
        ArgumentNullException.ThrowIfNull(layout);
        Layout = layout;
        _values = layout.FiniteCopy(values, "scale");
    }

    /// <summary>Scales from a tensor <c>[layout.Count]</c>, rounded.</summary>
    internal static FeatureScales Rounded(GateLayout layout, torch.Tensor values)
    {
        using var host = values.cpu();
        return new FeatureScales(layout, [.. host.data<float>().Select(scale => MathF.Round(scale, Decimals))]);
    }

    /// <summary>Where the gates of each site are.</summary>
    public GateLayout Layout { get; }

    /// <summary>All scales, <c>[Layout.Count]</c>.</summary>
    public ReadOnlySpan<float> Values => _values;

    /// <summary>The scales of one site.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="site">The site.</param>
    /// <returns>The scales, <c>[size of the site]</c>.</returns>
    public ReadOnlySpan<float> ForSite(int block, SelectionSite site)
    {
        var range = Layout[block, site];
        return Values.Slice(range.Offset, range.Size);
    }

    /// <summary>
    /// The scales for another budget. They compensate for what is removed, and compensate less where less is removed: each becomes
    /// <c>1 + (scale - 1) removed / removedBefore</c>, and is kept where more is removed.
    /// </summary>
    /// <param name="removedBefore">The fraction of parameters that the plan removes for which they were learned, from 0 to 1.</param>
    /// <param name="removed">The fraction that the other plan removes, from 0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A fraction below 0 or above 1.</exception>
    public FeatureScales RescaledFor(double removed, double removedBefore)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(removed, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(removed, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(removedBefore, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(removedBefore, 1);

        double share = removed >= removedBefore ? 1 : removed / removedBefore;
        return share == 1
            ? this
            : new FeatureScales(Layout, [.. _values.Select(scale => MathF.Round((float)(1 + (scale - 1) * share), Decimals))]);
    }

    /// <summary>Whether both have the same scales.</summary>
    /// <param name="other">The others.</param>
    public bool Equals(FeatureScales? other) => other is not null && Values.SequenceEqual(other.Values);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as FeatureScales);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_values.Length, _values[0], _values[^1]);

    /// <inheritdoc/>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"scales from {_values.Min():G3} to {_values.Max():G3}");
}
