using System.Diagnostics;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>
/// Writes progress as plain lines: one at the start, one every ten seconds, and with details one for the first and one for the last report.
/// Work in phases reports a fraction from 0 to 1 for each phase.
/// </summary>
internal sealed class PlainProgressDisplay : IProgressDisplay
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(10);

    private readonly string _title;
    private readonly Action<string> _write;
    private long _lastWrite;
    private double _fraction = double.PositiveInfinity;

    public PlainProgressDisplay(string title, Action<string> write)
    {
        _title = title;
        _write = write;
        write(title);
        _lastWrite = Stopwatch.GetTimestamp();
    }

    public void Report(double fraction, string? details = null)
    {
        bool isFirst = details is not null && fraction < _fraction, isLast = details is not null && fraction >= 1;
        if (isFirst || isLast || Stopwatch.GetElapsedTime(_lastWrite) >= s_interval)
        {
            _lastWrite = Stopwatch.GetTimestamp();
            _write($"{_title}: {details ?? fraction.ToString("P0", CultureInfo.InvariantCulture)}");
        }

        _fraction = details is null ? _fraction : fraction;
    }
}
