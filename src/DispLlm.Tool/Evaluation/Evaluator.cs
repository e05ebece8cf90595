using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace DispLlm.Tool;

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

    /// <summary>Whether it measures on the text.</summary>
    public virtual bool UsesText => false;

    /// <summary>Its own options.</summary>
    public virtual IEnumerable<Option> Options => [];

    /// <summary>Reads its own files, before anything is loaded.</summary>
    /// <exception cref="DispLlmException">A file is missing or not valid.</exception>
    public virtual void ReadFiles(ParseResult arguments)
    {
    }

    /// <summary>Why it cannot measure these models, as a sentence; null if it can. Asked before anything is measured.</summary>
    public virtual string? FindObjection(EvaluationInput input) => null;

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

/// <summary>Perplexity of each model, per token and per byte.</summary>
internal sealed class PerplexityEvaluator : Evaluator
{
    public override string Name => "perplexity";

    public override string Summary => "perplexity on the text";

    public override bool UsesText => true;

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        PerplexityResult[] results =
        [
            .. input.Models.Select((model, i) => Perplexity.Evaluate(
                model.Model, model.Text!, input.PerplexityOptions, null, display.Part(i, input.Models.Count), cancellationToken)),
        ];
        string tokens = string.Join(" / ", results.Select(result => result.PredictedTokens).Distinct().Select(
            count => count.ToString("N0", CultureInfo.InvariantCulture)));

        // What one model calls a token is two for another: only the figures per byte of text compare.
        bool compares = input.ShareVocabulary;
        var metrics = new List<Metric>
        {
            new("perplexity", $"perplexity, {tokens} tokens", "F2", [.. results.Select(result => result.Perplexity)])
            {
                ShowsRatio = compares,
            },
            new("loss", "loss, nats per token", "F3", [.. results.Select(result => result.MeanLoss)]) { ShowsRatio = compares },
        };
        if (results.All(result => result.BitsPerByte is not null))
        {
            double[] perplexities = [.. results.Select(result => result.PerplexityPerByte!.Value)];
            metrics.Add(new("perplexity_per_byte", "perplexity per byte", "F4", perplexities));
            metrics.Add(new("bits_per_byte", "bits per byte", "F4", [.. results.Select(result => result.BitsPerByte!.Value)]));
        }

        return metrics;
    }
}

/// <summary>Distribution of each model compared with that of the first.</summary>
internal sealed class AgreementEvaluator : Evaluator
{
    public override string Name => "agreement";

    public override string Summary => "KL divergence and top-1 agreement with the first model";

    public override bool UsesText => true;

    public override string? FindObjection(EvaluationInput input)
    {
        var first = input.Models[0];
        return input.Models.Skip(1)
            .Select(model => Vocabularies.FindDifference(model.Model, model.Tokenizer, first.Model, first.Tokenizer))
            .FirstOrDefault(difference => difference is not null);
    }

    public override string? FindMissing(CommandResult command, int models) =>
        models > 1 ? null : "there is no second model to compare with the first.";

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        var (first, others) = (input.Models[0], input.Models.Skip(1).ToArray());
        if (others.Length == 0)
        {
            return [];
        }

        DistributionComparisonResult[] results =
        [
            new DistributionComparisonResult(0, 1, 0),
            .. others.Select((model, i) => DistributionComparison.Evaluate(
                model.Model, first.Model, first.Text!.Tokens, input.PerplexityOptions, null, display.Part(i, others.Length),
                cancellationToken)),
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
        IPrunableModel[] models = [.. input.Models.Select(model => model.Model)];
        var prefill = Throughput.MeasurePrefill(models, options, cancellationToken);
        display.Report(0.5);
        var decode = Throughput.MeasureDecode(models, options, cancellationToken);
        bool compares = input.ShareVocabulary;
        return
        [
            new Metric(
                "read_tokens_per_second", FormattableString.Invariant($"prefill, tokens/s, {input.WindowLength:N0} tokens"), "N0",
                prefill) { ShowsRatio = compares },
            new Metric("written_tokens_per_second", "decode, tokens/s, one sequence", "N0", decode) { ShowsRatio = compares },
        ];
    }
}
