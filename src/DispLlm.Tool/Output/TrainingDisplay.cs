using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Shows each training step, and each sequence that is measured.</summary>
internal sealed class TrainingDisplay(IProgressDisplay display) : IProgress<PruningProgress>
{
    public void Report(PruningProgress value) => display.Report(
        (double)value.Step / value.Steps,
        value.Phase == PruningPhase.Measuring
            ? $"measuring {value.Step}/{value.Steps}  {Formatting.Duration(value.TimeLeft)} left"
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{value.Step}/{value.Steps}  loss {value.CrossEntropy:F3}  kept {100 * value.KeptFraction:F1}%  "
                    + $"{value.TokensPerSecond:N0} tokens/s  {Formatting.Duration(value.TimeLeft)} left"));
}
