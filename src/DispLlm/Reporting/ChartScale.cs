namespace DispLlm.Reporting;

/// <summary>A linear axis with ticks at round numbers.</summary>
internal sealed record ChartScale
{
    private readonly double _low, _high, _from, _to;

    private ChartScale(double low, double high, double step, double from, double to)
    {
        (_low, _high, _from, _to) = (low, high, from, to);
        int ticks = (int)Math.Round((high - low) / step);
        Ticks = [.. Enumerable.Range(0, ticks + 1).Select(i => low + i * step)];
    }

    /// <summary>The values of the ticks.</summary>
    public IReadOnlyList<double> Ticks { get; }

    /// <summary>Creates a scale from the range of the values, extended to round numbers.</summary>
    /// <param name="low">The minimum.</param>
    /// <param name="high">The maximum.</param>
    /// <param name="from">The coordinate of the low end.</param>
    /// <param name="to">The coordinate of the high end.</param>
    public static ChartScale FromRange(double low, double high, double from, double to)
    {
        // A constant has no range; padding draws it as a line in the middle.
        double padding = high > low ? 0 : Math.Max(Math.Abs(high), 1) * 0.05;
        double rough = (high - low + 2 * padding) / 4, magnitude = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        double step = magnitude * (rough / magnitude) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        return new ChartScale(Math.Floor((low - padding) / step) * step, Math.Ceiling((high + padding) / step) * step, step, from, to);
    }

    /// <summary>The coordinate of a value.</summary>
    public double this[double value] => _from + (value - _low) / (_high - _low) * (_to - _from);
}
