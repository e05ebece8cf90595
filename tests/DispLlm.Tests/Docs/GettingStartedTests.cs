namespace DispLlm.Tests.Docs;

/// <summary>The code of docs/getting-started.md, on the small model: what the page shows compiles and runs.</summary>
public sealed class GettingStartedTests
{
    [Fact]
    public async Task What_the_page_shows_runs()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder, TorchBackend.Auto());
        string words = TextTokenizer.FromFolder(SampleModel.Folder).Decode(SampleModel.Tokens(model));
        File.WriteAllText(folder.Below("calibration.txt"), words);

        var result = await PruningPipeline.For(model)
            .WithPruningRatio(0.2)
            .WithCalibration(TokenCorpus.FromTextFile(folder.Below("calibration.txt")))
            .WithStrategy(new HypernetworkSelection { Steps = 3, SequenceLength = 64 })
            .WithSeed(1)
            .WithWidthMultiple(8)
            .WithRunDirectory(folder.Below("run"))
            .RunAsync(TestContext.Current.CancellationToken);
        Assert.True(result.After.BlockWeights < result.Before.BlockWeights);
        await result.SaveAsync(folder.Below("pruned"), cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal(result.Plan.Blocks.Count, result.PlanFor(0.3).Blocks.Count);
        using (var reconstruction = await WeightReconstruction.FitAsync(
            model, result.Plan, TokenCorpus.FromTextFile(folder.Below("calibration.txt")),
            new ReconstructionOptions { Sequences = 4, HeldOutSequences = 2, SequenceLength = 64 }))
        {
            await result.SaveAsync(folder.Below("reconstructed"), reconstruction, cancellationToken: TestContext.Current.CancellationToken);
        }

        result.Plan.Save(folder.Below("plan.json"));
        var plan = SelectionPlan.Load(folder.Below("plan.json"));
        var wider = plan.With(block: 0, SelectionSite.MlpInput, [.. Enumerable.Range(0, model.Spec.HiddenSize)]);
        var difference = plan.Diff(wider);
        Assert.Equal(wider == plan, difference.IsEmpty);
        await new PrunedModelBuilder(SampleModel.Folder, wider).BuildAsync(
            folder.Below("edited"), cancellationToken: TestContext.Current.CancellationToken);

        using var pruned = PrunableModel.Load(folder.Below("pruned"), model.Backend);
        var text = TokenCorpus.FromTextFile(folder.Below("calibration.txt"));
        var options = new PerplexityOptions { WindowLength = 64, MaxWindows = 4 };
        Assert.True(Perplexity.Evaluate(model, text, options).Perplexity < Perplexity.Evaluate(pruned, text, options).Perplexity);

        Assert.All(Throughput.MeasurePrefill([model, pruned], new ThroughputOptions { SequenceLength = 64, Rounds = 1 }),
            speed => Assert.True(speed > 0));
        Assert.All(Throughput.MeasureDecode([model, pruned],
            new ThroughputOptions { BatchSize = 2, PromptLength = 16, NewTokens = 3, Rounds = 1 }), speed => Assert.True(speed > 0));
        var tokenizer = TextTokenizer.FromFolder(folder.Below("pruned"));
        Assert.NotEmpty(TextGenerator.Generate(pruned, tokenizer, "Once upon a time", new GenerationOptions { MaxNewTokens = 4 }));
    }

    [Fact]
    public async Task A_strategy_of_one_s_own_keeps_what_it_scores_highest()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var plan = (await new KeepTheFirst().SelectAsync(
            new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.5) }, TestContext.Current.CancellationToken)).Plan;
        Assert.All(plan.Blocks, block => Assert.Equal(Enumerable.Range(0, block.MlpHidden.Count), block.MlpHidden));
    }

    private sealed record KeepTheFirst : ScoreStrategy
    {
        public override string Name => "keep the first";

        protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
        {
            var layout = request.Model.GateLayout;
            float[] values = new float[layout.Count];
            foreach (var site in layout.Sites)
            {
                for (int i = 0; i < site.Size; i++)
                {
                    values[site.Offset + i] = 1 - (float)i / site.Size;
                }
            }

            return new ScoreResult(new SelectionScores(layout, values));
        }
    }
}
