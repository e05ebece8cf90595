namespace DispLlm.Tests.Docs;

/// <summary>The code of docs/evaluation.md, on the small model: what the page shows compiles and runs.</summary>
public sealed class EvaluationTests
{
    [Fact]
    public void What_the_page_shows_runs()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder, TorchBackend.Auto());
        var plan = new MagnitudeSelection().Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.2) }).Plan;
        new PrunedModelBuilder(SampleModel.Folder, plan).Build(folder.Below("pruned"));
        using var pruned = PrunableModel.Load(folder.Below("pruned"), model.Backend);
        var tokenizer = TextTokenizer.FromFolder(model.Folder);
        File.WriteAllText(
            folder.Below("ARC-Easy-Test.jsonl"),
            """{"question": {"stem": "What do fish need?", "choices": """
            + """[{"text": "water", "label": "A"}, {"text": "a hat", "label": "B"}]}, "answerKey": "A"}""");
        File.WriteAllText(
            folder.Below("wiki.test.raw"), string.Concat(Enumerable.Repeat(" \n = The sea = \n \n The old man went to the sea . \n", 8)));

        var task = ZeroShotTask.ArcEasy(folder.Below("ARC-Easy-Test.jsonl"));
        foreach (var (name, either) in new[] { ("dense", model), ("pruned", pruned) })
        {
            var score = ZeroShot.Evaluate(
                either, tokenizer, task, new ZeroShotOptions { ResultsFile = folder.Below($"arc-easy-{name}.jsonl") });
            Assert.Equal(1, score.Items);
            Assert.InRange(score.NormalizedAccuracy!.Value, 0, 1);
        }

        var choice = new ZeroShotChoice("The sky is", " blue.");
        var own = new ZeroShotTask("skies", [new ZeroShotItem([choice, choice with { Continuation = " made of stone." }], Gold: 0)]);
        Assert.Equal(1, ZeroShot.Evaluate(model, tokenizer, own).Items);

        var text = TokenCorpus.FromWikiTextFile(folder.Below("wiki.test.raw"));
        Assert.True(Perplexity.Evaluate(model, text, PerplexityOptions.PaperConvention(tokenizer, windowLength: 64)).Perplexity > 1);
        Assert.True(Perplexity.Evaluate(model, text, PerplexityOptions.Sliding(windowLength: 64, stride: 32)).Perplexity > 1);

        var agreement = DistributionComparison.Evaluate(pruned, model, text, new PerplexityOptions { WindowLength = 64 });
        Assert.InRange(agreement.Top1Agreement, 0, 1);
        Assert.True(agreement.KlDivergence > 0);
        Assert.Equal(2, Throughput.MeasureMemory([model, pruned], new ThroughputOptions { SequenceLength = 64, Rounds = 1 }).Count);
    }
}
