using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>Perplexity of each model on the text.</summary>
internal sealed class PerplexityMeasurement : Measurement
{
    public override string Name => "perplexity";

    public override string Summary => "how well a text is predicted";

    public override IReadOnlyList<Figure> Measure(Subjects subjects, ParseResult arguments, IStage stage, CancellationToken cancellation)
    {
        var options = new PerplexityOptions { WindowLength = subjects.Window, MaxWindows = subjects.MaxWindows };
        int models = subjects.Models.Count;
        PerplexityResult[] results =
        [
            .. subjects.Models.Select((model, i) => Perplexity.Evaluate(
                model, subjects.Text, options, new Told<double>(fraction => stage.Report((i + fraction) / models)), cancellation)),
        ];
        return
        [
            new Figure("perplexity", FormattableString.Invariant($"perplexity, {results[0].PredictedTokens:N0} tokens"), "F2", [.. results.Select(result => result.Perplexity)]),
            new Figure("loss", "loss, nats a token", "F3", [.. results.Select(result => result.MeanLoss)]),
        ];
    }
}
