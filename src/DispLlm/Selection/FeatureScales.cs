using System.Globalization;
using TorchSharp;

namespace DispLlm.Modeling;

/// <summary>
/// What each gate of a model multiplies its feature by where it is open; 1 leaves it as it is. Gains stand for gates that are closed too, so that a plan's lists may be
/// edited without them. They cost the pruned model nothing: the cut multiplies the weights by them, and rounds the products to the
/// checkpoint's type. Immutable, all finite.
/// </summary>
public sealed class FeatureScales : IEquatable<FeatureScales>
{
    // More digits mean nothing, and a plan has to be read.
    private const int Decimals = 4;

    private readonly float[] _values;

    /// <summary>Takes a copy of the gains.</summary>
    /// <param name="layout">Where each site's gates stand.</param>
    /// <param name="values">The gains, <c>[layout.Count]</c>.</param>
    /// <exception cref="SelectionException">Wrong number of gains, or one that is not finite.</exception>
    public FeatureScales(GateLayout layout, ReadOnlySpan<float> values)
    {
        ArgumentNullException.ThrowIfNull(layout);
        Layout = layout;
        _values = layout.FiniteCopy(values, "gain");
    }

    /// <summary>Gains from a tensor <c>[layout.Count]</c>, rounded.</summary>
    internal static FeatureScales Rounded(GateLayout layout, torch.Tensor values)
    {
        using var host = values.cpu();
        return new FeatureScales(layout, [.. host.data<float>().Select(gain => MathF.Round(gain, Decimals))]);
    }

    /// <summary>Where each site's gates stand.</summary>
    public GateLayout Layout { get; }

    /// <summary>All gains, <c>[Layout.Count]</c>.</summary>
    public ReadOnlySpan<float> Values => _values;

    /// <summary>The gains of one site.</summary>
    /// <param name="block">Index of the block, from 0.</param>
    /// <param name="site">The site.</param>
    /// <returns>The gains, <c>[size of the site]</c>.</returns>
    public ReadOnlySpan<float> ForSite(int block, SelectionSite site)
    {
        var range = Layout[block, site];
        return Values.Slice(range.Offset, range.Size);
    }

    /// <summary>
    /// The gains for another budget: they make up for what is left out, and where less is left out they make up for less. Each becomes
    /// <c>1 + (gain - 1) removed / removedBefore</c>; where more is left out they stay as they are.
    /// </summary>
    /// <param name="removedBefore">What the plan that they were learned for removes, as a fraction, from 0 to 1.</param>
    /// <param name="removed">What the other plan removes.</param>
    /// <exception cref="ArgumentOutOfRangeException">A fraction below 0 or above 1.</exception>
    public FeatureScales RescaledFor(double removed, double removedBefore)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(removed, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(removed, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(removedBefore, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(removedBefore, 1);

        double share = removed >= removedBefore ? 1 : removed / removedBefore;
        return share == 1 ? this : new FeatureScales(Layout, [.. _values.Select(gain => MathF.Round((float)(1 + (gain - 1) * share), Decimals))]);
    }

    /// <summary>Whether both have the same gains.</summary>
    /// <param name="other">The others.</param>
    public bool Equals(FeatureScales? other) => other is not null && Values.SequenceEqual(other.Values);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as FeatureScales);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_values.Length, _values[0], _values[^1]);

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"gains from {_values.Min():G3} to {_values.Max():G3}");
}
