using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>How fast each model reads and writes, in turn, so that the figures compare.</summary>
internal sealed class SpeedMeasurement : Measurement
{
    public override string Name => "speed";

    public override string Summary => "tokens a second read and written, the models in turn";

    public override IReadOnlyList<Figure> Measure(Subjects subjects, ParseResult arguments, IStage stage, CancellationToken cancellation)
    {
        var reading = Throughput.Prefill(subjects.Models, subjects.Window, cancellationToken: cancellation);
        stage.Report(0.5);
        int prompt = Math.Max(1, subjects.Window / 2);
        var writing = Throughput.Decode(subjects.Models, prompt: prompt, length: Math.Min(16, subjects.Window - prompt), cancellationToken: cancellation);
        return
        [
            new Figure("read_tokens_per_second", FormattableString.Invariant($"tokens/s read, {subjects.Window:N0} at once"), "N0", reading),
            new Figure("written_tokens_per_second", "tokens/s written, one text", "N0", writing),
        ];
    }
}
