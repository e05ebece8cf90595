namespace DispLlm.Reporting;

/// <summary>Values along an axis of a diagram, with round numbers to mark it by.</summary>
internal sealed record ChartScale
{
    private readonly double _low, _high, _from, _to;

    private ChartScale(double low, double high, double step, double from, double to)
    {
        (_low, _high, _from, _to) = (low, high, from, to);
        int marks = (int)Math.Round((high - low) / step);
        Marks = [.. Enumerable.Range(0, marks + 1).Select(i => low + i * step)];
    }

    /// <summary>The values to mark.</summary>
    public IReadOnlyList<double> Marks { get; }

    /// <summary>A scale whose ends are round numbers around the values.</summary>
    /// <param name="low">The least value.</param>
    /// <param name="high">The greatest.</param>
    /// <param name="from">Where the low end is drawn.</param>
    /// <param name="to">Where the high end is drawn.</param>
    public static ChartScale Around(double low, double high, double from, double to)
    {
        // A constant has no extent; a little room makes it a line in the middle.
        double room = high > low ? 0 : Math.Max(Math.Abs(high), 1) * 0.05;
        double rough = (high - low + 2 * room) / 4, magnitude = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        double step = magnitude * (rough / magnitude) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
        return new ChartScale(Math.Floor((low - room) / step) * step, Math.Ceiling((high + room) / step) * step, step, from, to);
    }

    /// <summary>Where a value is drawn.</summary>
    public double this[double value] => _from + (value - _low) / (_high - _low) * (_to - _from);
}
