using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>Whether a run leaves a page for people, and what it is judged on.</summary>
internal sealed class ReportOption
{
    private readonly Option<string?> _file = new("--report")
    {
        Description = "Leave a report: one HTML file that opens anywhere, and its data beside it as .json. Default: none",
        HelpName = "file.html",
    };

    private readonly Option<string?> _test = new("--test")
    {
        Description = "UTF-8 text that the report judges by; never one that was learned on. Default: text that the dense model samples with another seed",
        HelpName = "file",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(_file);
        command.Options.Add(_test);
        command.Validators.Add(result =>
        {
            if (result.Given(_test) && !result.Given(_file))
            {
                result.AddError("'--test' is what a report judges by; ask for one with '--report'.");
            }
        });
    }

    /// <summary>Refuses a page that is there already, before any work.</summary>
    public void EnsureFree(ParseResult arguments)
    {
        if (arguments.GetValue(_file) is { } file)
        {
            Targets.EnsureFree(file);
            Targets.EnsureFree(DataFile(file));
        }
    }

    /// <summary>Measures both models and writes the report, where one is wanted.</summary>
    /// <returns>Where the page is; null where none was wanted.</returns>
    public async Task<string?> LeaveAsync(
        ParseResult arguments, PruningResult result, PrunableModel dense, string pruned, int? window, long seed, Terminal terminal, CancellationToken cancellation)
    {
        if (arguments.GetValue(_file) is not { } file)
        {
            return null;
        }

        var corpus = arguments.GetValue(_test) is { } test
            ? TokenCorpus.FromTextFile(test)
            : TextOptions.Sampled(4096, dense, -1 - seed);
        int length = LearningOptions.WindowFor(window, dense);
        await terminal.ShowAsync($"Measuring for {file}", stage =>
        {
            using var cut = PrunableModel.Load(pruned, dense.Backend, new LoadOptions { Logger = terminal.Logger }, cancellation);
            var text = TokenCorpus.FromTokens(corpus.Tokenize(CorpusContext.For(dense), cancellation));
            stage.Report(0.2);
            var options = new PerplexityOptions { WindowLength = length, MaxWindows = 64 };
            var perplexity = new BeforeAfter<PerplexityResult>(
                Perplexity.Evaluate(dense, text, options, cancellationToken: cancellation), Perplexity.Evaluate(cut, text, options, cancellationToken: cancellation));
            stage.Report(0.6);
            var agreement = DistributionComparison.Evaluate(cut, dense, text, options, cancellationToken: cancellation);
            stage.Report(0.8);
            var reading = Throughput.Prefill([dense, cut], length, cancellationToken: cancellation);
            var report = RunReport.FromResult(result) with
            {
                Perplexity = perplexity,
                PerplexityText = corpus.Description,
                Agreement = agreement,
                Prefill = new(reading[0], reading[1]),
                WeightBytes = new(RunReport.MeasureWeightBytes(dense.Folder), RunReport.MeasureWeightBytes(pruned)),
            };
            report.SaveJson(DataFile(file));
            HtmlReport.Save(report, file);
            return true;
        });
        return file;
    }

    private static string DataFile(string file) => Path.ChangeExtension(file, ".json");
}
