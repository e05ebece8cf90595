using System.CommandLine;
using System.CommandLine.Parsing;

namespace DispLlm.Tool;

/// <summary>The models to compare, the first one being the baseline, and the text to evaluate on.</summary>
internal sealed record EvaluationInput(IReadOnlyList<PrunableModel> Models, TokenCorpus Text, int WindowLength)
{
    /// <summary>Windows from the start of the text; null for all.</summary>
    public int? MaxWindows { get; init; }

    public PerplexityOptions PerplexityOptions => new() { WindowLength = WindowLength, MaxWindows = MaxWindows };
}

/// <summary>A metric of each model.</summary>
/// <param name="Key">Its name in JSON.</param>
/// <param name="Name">Its name in the table.</param>
/// <param name="Format">A numeric format of .NET.</param>
/// <param name="Values">One value per model.</param>
internal sealed record Metric(string Key, string Name, string Format, IReadOnlyList<double> Values)
{
    /// <summary>Whether the table also shows the ratio to the first model.</summary>
    public bool ShowsRatio { get; init; } = true;
}

/// <summary>Something that <c>eval</c> measures. To add one, derive a class and list it in <see cref="CreateAll"/>.</summary>
internal abstract class Evaluator
{
    /// <summary>Creates all evaluators, in the order of the output.</summary>
    public static IReadOnlyList<Evaluator> CreateAll() =>
        [new PerplexityEvaluator(), new AgreementEvaluator(), new ZeroShotEvaluator(), new ThroughputEvaluator()];

    /// <summary>Its name on the command line.</summary>
    public abstract string Name { get; }

    /// <summary>What it measures, for the help.</summary>
    public abstract string Summary { get; }

    /// <summary>Its own options.</summary>
    public virtual IEnumerable<Option> Options => [];

    /// <summary>What the command line lacks for it to measure anything, as a sentence; null for nothing.</summary>
    /// <param name="command">The parsed command line.</param>
    /// <param name="models">Number of models.</param>
    public virtual string? FindMissing(CommandResult command, int models) => null;

    /// <summary>Evaluates the models.</summary>
    /// <param name="input">Models and text.</param>
    /// <param name="arguments">The parsed command line.</param>
    /// <param name="display">Shows the progress.</param>
    /// <param name="cancellationToken">Cancels the evaluation.</param>
    public abstract IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken);
}

/// <summary>Perplexity of each model.</summary>
internal sealed class PerplexityEvaluator : Evaluator
{
    public override string Name => "perplexity";

    public override string Summary => "perplexity on the text";

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        PerplexityResult[] results =
        [
            .. input.Models.Select((model, i) => Perplexity.Evaluate(
                model, input.Text, input.PerplexityOptions, display.Part(i, input.Models.Count), cancellationToken)),
        ];
        string tokens = FormattableString.Invariant($"perplexity, {results[0].PredictedTokens:N0} tokens");
        return
        [
            new Metric("perplexity", tokens, "F2", [.. results.Select(result => result.Perplexity)]),
            new Metric("loss", "loss, nats per token", "F3", [.. results.Select(result => result.MeanLoss)]),
        ];
    }
}

/// <summary>Distribution of each model compared with that of the first.</summary>
internal sealed class AgreementEvaluator : Evaluator
{
    public override string Name => "agreement";

    public override string Summary => "KL divergence and top-1 agreement with the first model";

    public override string? FindMissing(CommandResult command, int models) =>
        models > 1 ? null : "there is no second model to compare with the first.";

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        var others = input.Models.Skip(1).ToArray();
        if (others.Length == 0)
        {
            return [];
        }

        DistributionComparisonResult[] results =
        [
            new DistributionComparisonResult(0, 1, 0),
            .. others.Select((model, i) => DistributionComparison.Evaluate(
                model, input.Models[0], input.Text, input.PerplexityOptions, display.Part(i, others.Length), cancellationToken)),
        ];
        return
        [
            new Metric(
                "divergence", "KL divergence from the first, nats per token", "F4",
                [.. results.Select(result => result.KlDivergence)]) { ShowsRatio = false },
            new Metric(
                "top_match", "top-1 agreement with the first", "P1",
                [.. results.Select(result => result.Top1Agreement)]) { ShowsRatio = false },
        ];
    }
}

/// <summary>Prefill and decode speed of each model, measured in turns.</summary>
internal sealed class ThroughputEvaluator : Evaluator
{
    public override string Name => "speed";

    public override string Summary => "prefill and decode speed, measured in turns";

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        int prompt = Math.Max(1, input.WindowLength / 2);
        var options = new ThroughputOptions
        {
            SequenceLength = input.WindowLength,
            PromptLength = prompt,
            NewTokens = Math.Min(16, input.WindowLength - prompt),
        };
        var prefill = Throughput.MeasurePrefill(input.Models, options, cancellationToken);
        display.Report(0.5);
        var decode = Throughput.MeasureDecode(input.Models, options, cancellationToken);
        return
        [
            new Metric(
                "read_tokens_per_second", FormattableString.Invariant($"prefill, tokens/s, {input.WindowLength:N0} tokens"), "N0", prefill),
            new Metric("written_tokens_per_second", "decode, tokens/s, one sequence", "N0", decode),
        ];
    }
}
