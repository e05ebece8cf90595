using System.Text.Json.Nodes;
using CsCheck;

namespace DispLlm.Tests.Reporting;

/// <summary>The report and its file.</summary>
public sealed class RunReportTests
{
    [Fact]
    public void A_report_round_trips()
    {
        using var folder = new TemporaryFolder();
        Gen.Select(Gen.Int[1, 5], Gen.Int[1, 9], Gen.Int[1, 40], Gen.Int[0, 12], Gen.Double.Nullable(), Gen.String)
            .Sample((blocks, heads, mlp, steps, perplexity, name) =>
            {
                // A file cannot hold half a surrogate pair.
                string model = string.Concat(name.EnumerateRunes());
                var report = Reports.Full(blocks, heads * 4, mlp, steps) with
                {
                    Model = model,
                    Perplexity = perplexity is { } value ? new(new(value, 1, 2, 3, 4), new(double.PositiveInfinity, 2, 2, 3, 4)) : null,
                };
                string file = folder.Below($"{Guid.NewGuid():N}.json");
                report.SaveJson(file);
                var read = RunReport.LoadJson(file);
                Assert.Equal(report.ToJson(), read.ToJson());
                Assert.Equal(report.Plan, read.Plan);
                Assert.Equal(report.Perplexity, read.Perplexity);
                Assert.Equal(report.Tasks, read.Tasks);
                Assert.Equal(report.History.Select(step => step with { CollapsedSites = [] }), read.History.Select(
                    step => step with { CollapsedSites = [] }));
                Assert.Equal(report.History.SelectMany(step => step.CollapsedSites), read.History.SelectMany(step => step.CollapsedSites));
                Assert.Equal((report.Model, report.Agreement, report.WeightBytes, report.Prefill),
                    (read.Model, read.Agreement, read.WeightBytes, read.Prefill));
            }, iter: 60, threads: 1);
    }

    [Fact]
    public void The_file_has_no_keys_for_what_was_not_measured()
    {
        var json = JsonNode.Parse(Reports.Bare().ToJson())!.AsObject();
        Assert.Equal(
            ["format_version", "model", "settings", "tasks", "widths", "shared_with_next", "history", "plan"],
            json.Select(entry => entry.Key));
        Assert.Equal(["divergence", "top_match", "tokens"],
            JsonNode.Parse(Reports.Full().ToJson())!["agreement"]!.AsObject().Select(entry => entry.Key));
    }

    [Fact]
    public void The_file_has_widths_and_overlaps_for_other_programs()
    {
        var report = Reports.Bare();
        var json = JsonNode.Parse(report.ToJson())!;
        Assert.Equal(report.Plan.Blocks[2].MlpHidden.Count, json["widths"]![2]!["mlp_hidden"]!.GetValue<int>());
        Assert.Equal("mlp_output", json["shared_with_next"]![4]!["site"]!.GetValue<string>());
        Assert.Equal(report.AdjacentBlockOverlaps[4].Jaccard, json["shared_with_next"]![4]!["share"]!.GetValue<double>());
    }

    [Theory]
    [InlineData("\"format_version\": 1", "\"format_version\": 2", "format_version is 2; this program reads version 1")]
    [InlineData("\"model\":", "\"modell\":", "modell")]
    [InlineData("\"items\": 2376", "\"items\": \"many\"", "items")]
    [InlineData("\"accuracy\":", "\"accurate\":", "accurate")]
    [InlineData("\"mlp_hidden\": [0", "\"mlp_hidden\": [-1", "index -1")]
    [InlineData("\"cross_entropy\":", "\"entropy\":", "no learning step")]
    [InlineData("\"items\": 2376", "\"items\": 2376, \"items\": 2376", "items")]
    [InlineData("\"history\": [", "\"history\": [ null,", "'history' contains null")]
    [InlineData("\"plan\":", "\"plans\":", "'plan' is missing")]
    [InlineData("{", "", "wrong type")]
    [InlineData("[", "", "JSON")]
    public void An_invalid_report_is_refused(string right, string wrong, string expected)
    {
        using var folder = new TemporaryFolder();
        string json = Reports.Full().ToJson();
        int at = json.IndexOf(right, StringComparison.Ordinal);
        File.WriteAllText(folder.Below("report.json"), json[..at] + wrong + json[(at + right.Length)..]);
        var error = Assert.Throws<ReportException>(() => RunReport.LoadJson(folder.Below("report.json")));
        Assert.StartsWith(folder.Below("report.json"), error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Overlaps_are_Jaccard_indices_of_the_kept_lists()
    {
        Gen.Select(Gen.Int[2, 5], Gen.Int[1, 9], Gen.Int[1, 40], Gen.Int[0, 999]).Sample((blocks, heads, mlp, seed) =>
        {
            var plan = Reports.Bare(blocks, heads * 4, mlp, seed).Plan;
            var shares = AdjacentBlockOverlap.Compute(plan);
            Assert.Equal((blocks - 1) * SelectionSites.All.Count, shares.Count);
            foreach (var share in shares)
            {
                var (first, second) =
                    (plan.Blocks[share.Block][share.Site].ToHashSet(), plan.Blocks[share.Block + 1][share.Site].ToHashSet());
                int both = first.Count(second.Contains);
                first.UnionWith(second);
                Assert.Equal((double)both / first.Count, share.Jaccard, 12);
                Assert.InRange(share.ExpectedJaccard, 0, 1);
            }
        }, iter: 100);
    }

    [Fact]
    public void Random_selections_have_the_expected_overlap()
    {
        var shares = AdjacentBlockOverlap.Compute(Reports.Bare(blocks: 40, hidden: 400, mlp: 1000).Plan);

        // Of two groups the first, which is always kept, is half.
        foreach (var site in shares.Where(share => share.Site != SelectionSite.AttentionGroups).GroupBy(share => share.Site))
        {
            Assert.Equal(site.Average(share => share.ExpectedJaccard), site.Average(share => share.Jaccard), 0.01);
        }
    }

    [Fact]
    public void Dense_blocks_and_blocks_without_attention_overlap_completely()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var empty = SelectionPlan.Dense(model.Spec).With(0, SelectionSite.AttentionGroups, []).With(1, SelectionSite.AttentionGroups, []);
        Assert.All(AdjacentBlockOverlap.Compute(empty), share => Assert.Equal((1, 1), (share.Jaccard, share.ExpectedJaccard)));
        Assert.All(AdjacentBlockOverlap.Compute(SelectionPlan.Dense(model.Spec)), share => Assert.Equal(
            (1, 1), (share.Jaccard, share.ExpectedJaccard)));
    }

    [Fact]
    public async Task A_report_of_a_run_records_its_settings()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var strategy = new HypernetworkSelection(new HypernetworkOptions { Steps = 3, SequenceLength = 16, LearningRate = 0.004 });
        var result = await PruningPipeline.For(model).WithPruningRatio(0.3).WithSeed(7).WithStrategy(strategy)
            .WithCalibration(TokenCorpus.FromTokens([.. Enumerable.Range(0, 400).Select(i => 3 + i * i % 61)]))
            .RunAsync(TestContext.Current.CancellationToken);
        await result.SaveAsync(folder.Below("pruned"), cancellationToken: TestContext.Current.CancellationToken);
        var report = RunReport.FromResult(result) with
        {
            WeightBytes = new(
            RunReport.MeasureWeightBytes(model.Folder), RunReport.MeasureWeightBytes(folder.Below("pruned")))
        };

        Assert.Equal("llama-mha", report.Model);
        Assert.Equal(result.Plan, report.Plan);
        Assert.Equal(3, report.History.Count);
        Assert.Equal("400 ready tokens", report.Settings.Calibration);
        Assert.Equal(model.Backend.ToString(), report.Settings.Backend);
        Assert.Equal("0.004", report.Settings.Options["LearningRate"]);
        Assert.DoesNotContain("NeedsCalibration", report.Settings.Options.Keys);
        Assert.StartsWith(
            $"{typeof(RunReport).Assembly.GetName().Version!.ToString(3)}", report.Settings.Library, StringComparison.Ordinal);
        Assert.InRange(report.WeightBytes.After, 1, report.WeightBytes.Before - 1);
        string page = HtmlReport.ToHtml(report);
        Assert.All(new[] { "LearningRate", "400 ready tokens", "pruning ratio 0.3 of BlockWeights" },
            fact => Assert.Contains(fact, page, StringComparison.Ordinal));
    }
}
