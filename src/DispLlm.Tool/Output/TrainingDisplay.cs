using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Shows each training step, and each sequence that is measured.</summary>
internal sealed class TrainingDisplay(IProgressDisplay display) : IProgress<SelectionProgress>, IProgress<MeasuringProgress>
{
    public void Report(MeasuringProgress value) => display.Report(
        (double)value.Window / value.Windows, $"measuring {value.Window}/{value.Windows}  {Formatting.Duration(value.TimeLeft)} left");

    public void Report(SelectionProgress value) => display.Report(
        (double)value.Step / value.Steps,
        string.Create(
            CultureInfo.InvariantCulture,
            $"{value.Step}/{value.Steps}  loss {value.CrossEntropy:F3}  kept {100 * value.KeptFraction:F1}%  {value.TokensPerSecond:N0} "
                + $"tokens/s  {Formatting.Duration(value.TimeLeft)} left"));
}
