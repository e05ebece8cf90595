using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>The whole way, through the fluent API, on a tiny model.</summary>
public sealed class PipelineTests
{
    private static readonly TokenCorpus s_corpus = TokenCorpus.FromTokens([.. Enumerable.Range(0, 2000).Select(i => 3 + i * i % 61)]);

    private static readonly HypernetworkSelection s_quick = new() { Steps = 4, SequenceLength = 32, BatchSize = 2 };

    [Fact]
    public async Task A_model_is_pruned_saved_and_loaded()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-gqa-biases-tied"));
        var steps = new Steps();
        var result = await Prune(model).WithProgress(steps).RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(4, result.History.Count);
        Assert.Equal(result.History, steps.Seen);
        Assert.InRange(result.KeptFraction(), 0.65, 0.7);

        await result.SaveAsync(folder.Below("pruned"), cancellationToken: TestContext.Current.CancellationToken);
        using var pruned = PrunableModel.Load(folder.Below("pruned"));
        Assert.Equal(result.Plan.Blocks, pruned.Plan!.Blocks);
        using var scope = NewDisposeScope();
        Tensor tokens = arange(20, ScalarType.Int64).unsqueeze(0);
        Close.Within(1e-4, model.Logits(tokens, new Gates(OpenGates(model, result.Plan))), pruned.Logits(tokens), "logits");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Pruning_in_memory_gives_the_model_of_the_saved_folder(bool reconstructs)
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Prune(model).RunAsync(TestContext.Current.CancellationToken);
        using var reconstruction = reconstructs
            ? await WeightReconstruction.FitAsync(model, result.Plan, s_corpus,
                new ReconstructionOptions { Sequences = 8, HeldOutSequences = 0, SequenceLength = 32 }, null,
                TestContext.Current.CancellationToken)
            : null;
        await result.SaveAsync(folder.Below("pruned"), reconstruction, null, TestContext.Current.CancellationToken);
        using PrunableModel saved = PrunableModel.Load(folder.Below("pruned")), inMemory = reconstruction is null ? result.ApplyTo(model)
            : result.ApplyTo(model, reconstruction);
        using var scope = NewDisposeScope();
        Tensor tokens = arange(20, ScalarType.Int64).unsqueeze(0);
        Assert.Equal(saved.Logits(tokens).data<float>().ToArray(), inMemory.Logits(tokens).data<float>().ToArray());
        Assert.Equal(result.Plan, inMemory.Plan);
        Assert.Throws<ModelAlreadyPrunedException>(() => result.ApplyTo(inMemory));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    public async Task The_same_seed_gives_the_same_plan_byte_for_byte(long seed)
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        foreach (string run in new[] { "a", "b" })
        {
            var result = await Prune(model).WithSeed(seed).RunAsync(TestContext.Current.CancellationToken);
            result.Plan.Save(folder.Below(run));
        }

        Assert.Equal(File.ReadAllBytes(folder.Below("a")), File.ReadAllBytes(folder.Below("b")));
    }

    [Fact]
    public async Task Another_seed_gives_another_plan()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var first = await Prune(model).WithSeed(1).RunAsync(TestContext.Current.CancellationToken);
        var second = await Prune(model).WithSeed(2).RunAsync(TestContext.Current.CancellationToken);
        Assert.NotEqual(first.Plan.Blocks, second.Plan.Blocks);
    }

    [Fact]
    public async Task The_same_plan_writes_the_same_bytes()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-sharded-bf16"));
        var result = await Pruning(model, new RandomSelection()).RunAsync(TestContext.Current.CancellationToken);
        await result.SaveAsync(folder.Below("a"), cancellationToken: TestContext.Current.CancellationToken);
        await result.SaveAsync(folder.Below("b"), cancellationToken: TestContext.Current.CancellationToken);
        string[] files = [.. Directory.GetFiles(folder.Below("a")).Select(file => Path.GetFileName(file)!)];
        Assert.Contains("model.safetensors.index.json", files);
        Assert.All(files, file =>
            Assert.Equal(File.ReadAllBytes(Path.Combine(folder.Below("a"), file)),
            File.ReadAllBytes(Path.Combine(folder.Below("b"), file))));
    }

    [Fact]
    public void Pruned_equals_masked_for_any_plan_of_any_fixture()
    {
        using var folder = new TemporaryFolder();
        int run = 0;
        Gen.Select(Gen.OneOfConst([.. Conformance.LlamaConformanceTests.Fixtures.Select(row => row.Data)]), Gen.Double[0.05, 0.95],
            Gen.Int[0, 9999], Gen.Enum<NormOrder>())
            .Sample(
                (name, ratio, seed, order) =>
                {
                    using var scope = NewDisposeScope();
                    using var noGradient = no_grad();
                    using var model = PrunableModel.Load(Fixture.GetFolder(name));
                    var request =
                        new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(ratio), Seed = seed, NormOrder = order };
                    var plan = new RandomSelection().Select(request).Plan;
                    string target = folder.Below($"{Interlocked.Increment(ref run)}");
                    new PrunedModelBuilder(model.Folder, plan).Build(target);
                    using var pruned = PrunableModel.Load(target);
                    Tensor tokens = (arange(24, ScalarType.Int64) * 7 + seed).remainder(model.Spec.VocabularySize).view(2, 12);
                    Close.Within(1e-4, model.Logits(tokens, new Gates(OpenGates(model, plan), order)), pruned.Logits(tokens),
                        $"{name} at {ratio}");
                },
                iter: 30,
                threads: 1);
    }

    [Fact]
    public async Task Learning_beats_chance_and_reaches_its_budget()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var text = TokenCorpus.FromTokens(SampleModel.Tokens(model));
        var learned = await PruningPipeline.For(model).WithPruningRatio(0.3).WithCalibration(text)
            .WithStrategy(new HypernetworkSelection { Steps = 40, SequenceLength = 64, BatchSize = 2 })
            .RunAsync(TestContext.Current.CancellationToken);
        var random = await PruningPipeline.For(model).WithPruningRatio(0.3).WithStrategy(new RandomSelection())
            .RunAsync(TestContext.Current.CancellationToken);
        Assert.InRange(learned.KeptFraction(), 0.699, 0.7);
        Assert.InRange(random.KeptFraction(), 0.699, 0.7);
        Assert.True(Loss(model, learned.Plan) < Loss(model, random.Plan) - 0.1,
            $"{Loss(model, learned.Plan)} against {Loss(model, random.Plan)}");
    }

    [Fact]
    public async Task What_is_missing_is_named_before_any_work_and_never_thrown_synchronously()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var pipeline = PruningPipeline.For(model);
        Assert.Contains("WithPruningRatio", (await Assert.ThrowsAsync<InvalidOperationException>(() => Started(pipeline))).Message,
            StringComparison.Ordinal);
        Assert.Contains("WithCalibration",
            (await Assert.ThrowsAsync<InvalidOperationException>(() => Started(pipeline.WithPruningRatio(0.2)))).Message,
            StringComparison.Ordinal);
        Assert.Contains("1.2", Assert.Throws<BudgetException>(() => pipeline.WithPruningRatio(1.2)).Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<BudgetException>(() => Started(pipeline.WithPruningRatio(0.9999).WithStrategy(new RandomSelection())));
        Assert.Throws<ArgumentOutOfRangeException>(() => pipeline.WithWidthMultiple(0));

        // Begun outside of the assertion: what is thrown here, and not by the task, fails the test.
        static Task<PruningResult> Started(PruningPipeline pipeline)
        {
            Task<PruningResult>? task = null;
            Assert.Null(Record.Exception(() => { task = pipeline.RunAsync(); }));
            return task!;
        }
    }

    [Fact]
    public async Task A_target_that_holds_files_is_left_alone()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Below("mine.txt"), "mine");
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Pruning(model, new MagnitudeSelection()).RunAsync(TestContext.Current.CancellationToken);
        var error = await Assert.ThrowsAsync<DispLlmException>(() => result.SaveAsync(folder.Path));
        Assert.Contains(folder.Path, error.Message, StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(folder.Below("mine.txt")));
    }

    [Fact]
    public async Task A_cancelled_save_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Pruning(model, new MagnitudeSelection()).RunAsync(TestContext.Current.CancellationToken);
        using var cancellation = new CancellationTokenSource();
        var progress = new Callback<PruningProgress>(_ => cancellation.Cancel());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            result.SaveAsync(folder.Below("pruned"), progress, cancellationToken: cancellation.Token));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task A_pruned_folder_is_refused_by_those_who_do_not_know_and_where_it_makes_no_sense()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Pruning(model, new MagnitudeSelection()).RunAsync(TestContext.Current.CancellationToken);
        string target = folder.Below("pruned");
        await result.SaveAsync(target, cancellationToken: TestContext.Current.CancellationToken);

        // Without what says that it is pruned, its tensors do not fit.
        string ordinary = folder.Below("ordinary");
        Directory.CreateDirectory(ordinary);
        File.Copy(Path.Combine(target, "model.safetensors"), Path.Combine(ordinary, "model.safetensors"));
        File.Copy(Path.Combine(Fixture.GetFolder("llama-mha"), "config.json"), Path.Combine(ordinary, "config.json"));
        Assert.Contains("but config.json asks for", Assert.Throws<CheckpointException>(() => PrunableModel.Load(ordinary)).Message,
            StringComparison.Ordinal);
        using var pruned = PrunableModel.Load(target);
        Assert.Equal(target, Assert.Throws<ModelAlreadyPrunedException>(() => PruningPipeline.For(pruned)).Folder);
        Assert.Throws<ModelAlreadyPrunedException>(() => new PrunedModelBuilder(target, result.Plan).Build(folder.Below("again")));
    }

    [Fact]
    public async Task An_edited_plan_no_longer_fits_its_folder()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Pruning(model, new RandomSelection()).RunAsync(TestContext.Current.CancellationToken);
        string target = folder.Below("pruned");
        await result.SaveAsync(target, cancellationToken: TestContext.Current.CancellationToken);
        var kept = result.Plan.Blocks[0].AttentionInput;
        int absent = Enumerable.Range(0, 32).Except(kept).First();
        result.Plan.With(0, SelectionSite.AttentionInput,
            [.. kept.Skip(1).Append(absent).Order()]).Save(Path.Combine(target, "selection-plan.json"));
        Assert.Contains("displlm.kept[0]", Assert.Throws<CheckpointException>(() => PrunableModel.Load(target)).Message,
            StringComparison.Ordinal);
    }

    private static PruningPipeline Prune(IPrunableModel model) =>
        PruningPipeline.For(model).WithPruningRatio(0.3).WithCalibration(s_corpus).WithStrategy(s_quick);

    private static PruningPipeline Pruning(IPrunableModel model, ISelectionStrategy strategy) =>
        PruningPipeline.For(model).WithPruningRatio(0.3).WithStrategy(strategy);

    private static double Loss(IPrunableModel model, SelectionPlan plan)
    {
        using var gates = OpenGates(model, plan);
        return Perplexity.Evaluate(model, SampleModel.Tokens(model), new PerplexityOptions { WindowLength = 64 },
            new Gates(gates)).MeanLoss;
    }

    private static Tensor OpenGates(IPrunableModel model, SelectionPlan plan) => Gates.FromPlan(plan, model.Backend).Values;
}
