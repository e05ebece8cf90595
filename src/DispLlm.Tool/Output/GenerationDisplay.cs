using System.Diagnostics;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Shows how much text is generated, and the time left at the speed since the first report.</summary>
internal sealed class GenerationDisplay(IProgressDisplay display, int tokens) : IProgress<double>
{
    private readonly Stopwatch _clock = new();
    private double _first;

    public void Report(double value)
    {
        if (!_clock.IsRunning)
        {
            _first = value;
            _clock.Start();
        }

        string left = value > _first ? $"  {Formatting.Duration(_clock.Elapsed * ((1 - value) / (value - _first)))} left" : string.Empty;
        display.Report(value, string.Create(CultureInfo.InvariantCulture, $"{value * tokens:N0}/{tokens:N0} tokens{left}"));
    }
}
