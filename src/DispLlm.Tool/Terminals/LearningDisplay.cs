using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Shows each learning step on a stage, and each sequence that is measured.</summary>
internal sealed class LearningDisplay(IStage stage) : IProgress<PruningProgress>
{
    public void Report(PruningProgress value) => stage.Report(
        (double)value.Step / value.Steps,
        value.Phase == PruningPhase.Measuring
            ? $"measuring {value.Step}/{value.Steps}  {Durations.Short(value.TimeLeft)} left"
            : string.Create(
                CultureInfo.InvariantCulture,
                $"{value.Step}/{value.Steps}  loss {value.CrossEntropy:F3}  kept {100 * value.KeptFraction:F1}%  {value.TokensPerSecond:N0} tokens/s  {Durations.Short(value.TimeLeft)} left"));
}

/// <summary>Hands each report on where it happens, unlike <see cref="Progress{T}"/>, which may mix up their order.</summary>
internal sealed class Told<T>(Action<T> action) : IProgress<T>
{
    public void Report(T value) => action(value);
}
