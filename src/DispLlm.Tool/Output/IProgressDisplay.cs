namespace DispLlm.Tool;

/// <summary>Shows the progress of a piece of work.</summary>
internal interface IProgressDisplay
{
    /// <summary>Updates the progress.</summary>
    /// <param name="fraction">The completed fraction, 0 to 1.</param>
    /// <param name="details">Details to show; null for none.</param>
    void Report(double fraction, string? details = null);

    /// <summary>Shows the steps of a phase as a fraction.</summary>
    IProgress<PruningProgress> Steps => new SynchronousProgress<PruningProgress>(step => Report((double)step.Step / step.Steps));

    /// <summary>The progress of one of several parts, shown as a fraction of all.</summary>
    IProgress<double> Part(int index, int count) => new SynchronousProgress<double>(fraction => Report((index + fraction) / count));
}

/// <summary>Calls an action for each report, unlike <see cref="Progress{T}"/> on the reporting thread and in order.</summary>
internal sealed class SynchronousProgress<T>(Action<T> action) : IProgress<T>
{
    public void Report(T value) => action(value);
}
