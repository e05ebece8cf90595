using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>How closely each model predicts what the first one predicts.</summary>
internal sealed class AgreementMeasurement : Measurement
{
    public override string Name => "agreement";

    public override string Summary => "how closely the others predict what the first one predicts";

    public override IReadOnlyList<Figure> Measure(Subjects subjects, ParseResult arguments, IStage stage, CancellationToken cancellation)
    {
        var others = subjects.Models.Skip(1).ToArray();
        if (others.Length == 0)
        {
            return [];
        }

        var options = new PerplexityOptions { WindowLength = subjects.Window, MaxWindows = subjects.MaxWindows };
        DistributionComparisonResult[] scores =
        [
            new DistributionComparisonResult(0, 1, 0),
            .. others.Select((model, i) => DistributionComparison.Evaluate(
                model, subjects.Models[0], subjects.Text, options, new Told<double>(fraction => stage.Report((i + fraction) / others.Length)), cancellation)),
        ];
        return
        [
            new Figure("divergence", "divergence from the first, nats a token", "F4", [.. scores.Select(score => score.KlDivergence)]) { Compares = false },
            new Figure("top_match", "same most likely token as the first", "P1", [.. scores.Select(score => score.Top1Agreement)]) { Compares = false },
        ];
    }
}
