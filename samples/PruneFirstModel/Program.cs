using System.Diagnostics;
using System.Globalization;
using DispLlm;
using DispLlm.Evaluation;
using DispLlm.Modeling;
using DispLlm.Reporting;
using PruneFirstModel;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
if (args.Any(arg => arg is "--help" or "-h"))
{
    Console.WriteLine(Options.Usage);
    return 0;
}

using var cancellation = new CancellationTokenSource();
Console.CancelKeyPress += (_, pressed) =>
{
    pressed.Cancel = true;
    cancellation.Cancel();
};
try
{
    await RunAsync(Options.Parse(args), cancellation.Token);
    return 0;
}
catch (OperationCanceledException)
{
    Console.Error.WriteLine("Stopped. Nothing was left behind.");
    return 130;
}
catch (Exception error) when (error is DispLlmException or FormatException or ArgumentException)
{
    Console.Error.WriteLine(error.Message);
    return 1;
}

static async Task RunAsync(Options options, CancellationToken cancellation)
{
    var clock = Stopwatch.StartNew();
    using var model = PrunableModel.Load(options.Model, TorchBackend.Auto(), cancellationToken: cancellation);
    var tokenizer = TextTokenizer.FromFolder(options.Model);
    Console.WriteLine($"{model.Family.Name}, {model.Spec.NumLayers} blocks of {model.Spec.HiddenSize} features, "
        + $"{new ParameterCounter(model.Spec).Dense.WholeModel:N0} parameters");

    // No data needed: the model generates its own calibration text, and a second text with another seed to be evaluated on.
    int window = Math.Min(256, model.Spec.MaxPositions);
    Console.WriteLine(options.Text is null ? "Generating calibration text with the model ..." : $"Calibration text: {options.Text}");
    var calibration = options.Text is null
        ? Generated(tokens: 8_192, seed: 1)
        : TokenCorpus.FromTextFile(options.Text);
    var evaluation = options.Test is null ? Generated(tokens: 4_096, seed: 2) : TokenCorpus.FromTextFile(options.Test);

    var result = await PruningPipeline.For(model)
        .WithPruningRatio(options.Ratio)
        .WithCalibration(calibration)
        .WithStrategy(new HypernetworkSelection { Steps = options.Steps, SequenceLength = window / 4, BatchSize = 4 })
        .WithProgress(new StepLine())
        .RunAsync(cancellation);
    await result.SaveAsync(options.Out, cancellationToken: cancellation);
    using var pruned = PrunableModel.Load(options.Out, model.Backend, cancellationToken: cancellation);

    Console.WriteLine();
    Picture.Widths(result.Plan);
    Console.WriteLine();
    var perplexity = new PerplexityOptions { WindowLength = window };
    var before = Perplexity.Evaluate(model, evaluation, perplexity, cancellationToken: cancellation);
    var after = Perplexity.Evaluate(pruned, evaluation, perplexity, cancellationToken: cancellation);
    var speed = Throughput.MeasurePrefill([model, pruned], new ThroughputOptions { SequenceLength = window }, cancellation);
    Picture.Table(
        ("", "before", "after"),
        ("block weights", $"{result.Before.BlockWeights:N0}", $"{result.After.BlockWeights:N0} ({result.KeptFraction():P2})"),
        ("all parameters", $"{result.Before.WholeModel:N0}",
            $"{result.After.WholeModel:N0} ({result.KeptFraction(ParameterScope.WholeModel):P2})"),
        ("weights on disk", Size(options.Model), Size(options.Out)),
        ($"perplexity, {before.PredictedTokens:N0} tokens", $"{before.Perplexity:F2}", $"{after.Perplexity:F2}"),
        ($"tokens/s, {window} at once", $"{speed[0]:N0}", $"{speed[1]:N0} ({speed[1] / speed[0]:F2}x)"));

    if (options.Report is { } folder)
    {
        SaveReport(folder, RunReport.FromResult(result) with
        {
            Perplexity = new(before, after),
            PerplexityText = evaluation.Description,
            WeightBytes = new(RunReport.MeasureWeightBytes(options.Model), RunReport.MeasureWeightBytes(options.Out)),
            Prefill = new(speed[0], speed[1]),
        });
    }

    const string Prompt = "The captain looked at the";
    var generation = new GenerationOptions { MaxNewTokens = 24 };
    Console.WriteLine();
    Console.WriteLine($"before: {Prompt}{OneLine(TextGenerator.Generate(model, tokenizer, Prompt, generation, cancellation))}");
    Console.WriteLine($"after:  {Prompt}{OneLine(TextGenerator.Generate(pruned, tokenizer, Prompt, generation, cancellation))}");
    Console.WriteLine();
    Console.WriteLine($"The pruned checkpoint is in {options.Out} ({clock.Elapsed.TotalSeconds:F0} s in all).");
}

static TokenCorpus Generated(int tokens, long seed) =>
    TokenCorpus.GeneratedByModel(new GeneratedCorpusOptions { Tokens = tokens, SequenceLength = 64, BatchSize = 128, Seed = seed });

static void SaveReport(string folder, RunReport report)
{
    Directory.CreateDirectory(folder);
    HtmlReport.Save(report, Path.Combine(folder, "report.html"));
    report.SaveJson(Path.Combine(folder, "report.json"));
    foreach (var chart in ReportCharts.Create(report))
    {
        chart.SaveSvg(Path.Combine(folder, chart.Name + ".svg"));
    }
}

static string Size(string folder) => $"{RunReport.MeasureWeightBytes(folder) / 1e6:F2} MB";

static string OneLine(string continuation) => " " + continuation.Replace('\n', ' ').Trim();
