using System.Diagnostics;

namespace DispLlm.Export;

/// <summary>Reports the tensors that an export writes. Not thread-safe.</summary>
/// <param name="progress">Where they are reported to; null for nowhere.</param>
/// <param name="total">How many there are.</param>
internal sealed class ExportClock(IProgress<ExportProgress>? progress, int total)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private int _written;

    /// <summary>One more tensor is written.</summary>
    public void Wrote() => progress?.Report(new ExportProgress(++_written, total, _clock.Elapsed));
}
