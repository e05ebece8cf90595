namespace DispLlm;

/// <summary>A window of text that a strategy measured without learning: Fisher, first order, activations; and learning, for the scores that it starts from.</summary>
/// <param name="Window">The window just measured, from 1.</param>
/// <param name="Windows">Windows in all.</param>
/// <param name="Elapsed">Time since the measuring began.</param>
public sealed record MeasuringProgress(int Window, int Windows, TimeSpan Elapsed)
{
    /// <summary>At the mean speed so far.</summary>
    public TimeSpan TimeLeft => Elapsed / Window * (Windows - Window);
}
