namespace DispLlm.Tests.Docs;

/// <summary>The code of docs/report.md, on the small model: what the page shows compiles and runs.</summary>
public sealed class ReportTests
{
    [Fact]
    public async Task What_the_page_shows_runs()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder, TorchBackend.Auto());
        var test = TokenCorpus.FromTokens(SampleModel.Tokens(model));
        var options = new PerplexityOptions { WindowLength = 64, MaxWindows = 4 };

        var result = await PruningPipeline.For(model).WithPruningRatio(0.5).WithStrategy(new MagnitudeSelection())
            .RunAsync(TestContext.Current.CancellationToken);
        await result.SaveAsync(folder.Below("half"), cancellationToken: TestContext.Current.CancellationToken);
        using var pruned = PrunableModel.Load(folder.Below("half"), model.Backend);

        var speed = Throughput.MeasurePrefill([model, pruned], new ThroughputOptions { SequenceLength = 64, Rounds = 1 });
        var report = RunReport.FromResult(result) with
        {
            Perplexity = new(Perplexity.Evaluate(model, test, options), Perplexity.Evaluate(pruned, test, options)),
            PerplexityText = test.Description,
            Prefill = new(speed[0], speed[1]),
            WeightBytes = new(RunReport.MeasureWeightBytes(model.Folder), RunReport.MeasureWeightBytes(folder.Below("half"))),
        };
        HtmlReport.Save(report, folder.Below("half.html"));
        report.SaveJson(folder.Below("half.json"));
        Assert.Contains(
            "Half of the block weights removed; perplexity", File.ReadAllText(folder.Below("half.html")), StringComparison.Ordinal);
        Assert.Equal(report.Plan, RunReport.LoadJson(folder.Below("half.json")).Plan);

        foreach (var picture in ReportCharts.Create(report))
        {
            picture.SaveSvg(folder.Below($"{picture.Name}.svg"), new ChartOptions { Columns = 2 });
            picture.SavePng(folder.Below($"{picture.Name}.png"), new ChartOptions { Scale = 3 });
        }

        Assert.Equal(["cost", "kept", "quality", "widths"], Directory.GetFiles(folder.Path, "*.png").Select(
            file => Path.GetFileNameWithoutExtension(file)).Order());
    }
}
