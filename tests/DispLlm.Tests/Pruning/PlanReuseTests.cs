using System.Text.RegularExpressions;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>A plan is a thing of its own: made by one run, it is read, edited and applied without it.</summary>
public sealed class PlanReuseTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_plan_of_one_run_cuts_another_folder_of_the_same_shape()
    {
        (await RunAsync("llama-mha")).Save(_folder.Below("plan.json"));
        var plan = SelectionPlan.Load(_folder.Below("plan.json"));
        using var scope = NewDisposeScope();
        using var trained = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var other = PrunableModel.Load(Fixture.GetFolder("llama-rope-llama3"));
        Assert.False(trained.Logits(Tokens).allclose(other.Logits(Tokens)));
        CutsAsMasked(other, plan);
    }

    [Fact]
    public async Task A_plan_edited_in_its_file_cuts_what_the_file_says()
    {
        var plan = await RunAsync("llama-mha");
        string text = new Regex("\"mlp_hidden\": \\[[^]]*]").Replace(plan.ToJson(), "\"mlp_hidden\": [0, 7, 11]", count: 1);
        File.WriteAllText(_folder.Below("plan.json"), text);
        var edited = SelectionPlan.Load(_folder.Below("plan.json"));
        Assert.Equal([0, 7, 11], edited.Blocks[0].MlpHidden);
        Assert.Equal([(0, SelectionSite.MlpHidden)], plan.Diff(edited).Sites.Select(site => (site.Block, site.Site)));
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        CutsAsMasked(model, edited);
    }

    [Fact]
    public void A_plan_made_by_hand_needs_no_run_and_names_no_family()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("opt-pre-norm"));
        var plan = SelectionPlan.Dense(model.Spec).With(1, SelectionSite.AttentionOutput, [3, 4, 5]).With(0, SelectionSite.MlpInput, [0]);
        Assert.Null(plan.Family);
        CutsAsMasked(model, plan);
    }

    [Fact]
    public async Task A_plan_for_another_model_is_refused_before_anything_is_written()
    {
        var plan = await RunAsync("llama-mha");
        string target = _folder.Below("pruned");
        var shape =
            Assert.Throws<SelectionException>(() => new PrunedModelBuilder(Fixture.GetFolder("llama-sharded-bf16"), plan).Build(target));
        Assert.Contains("4", shape.Message, StringComparison.Ordinal);
        var family = Assert.Throws<SelectionException>(() =>
            new PrunedModelBuilder(Fixture.GetFolder("llama-mha"), plan with { Family = "opt" }).Build(target));
        Assert.Contains("'opt'", family.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task A_corpus_a_strategy_and_a_measure_of_one_s_own_work_together()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var corpus = new Counting();
        var result = await PruningPipeline.For(model).WithPruningRatio(0.25).WithCalibration(corpus).WithStrategy(new Surprise())
            .RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal("surprise", result.Plan.Provenance.Strategy);
        Assert.InRange(result.KeptFraction(), 0.7, 0.75);
        await result.SaveAsync(_folder.Below("pruned"), cancellationToken: TestContext.Current.CancellationToken);
        using var pruned = PrunableModel.Load(_folder.Below("pruned"));
        Assert.InRange(Agreement(model, model), 1, 1);
        Assert.InRange(Agreement(model, pruned), 0, 1);
    }

    private static Tensor Tokens => (arange(24, ScalarType.Int64) * 7).remainder(64).view(2, 12);

    private static async Task<SelectionPlan> RunAsync(string fixture)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder(fixture));
        return (await PruningPipeline.For(model).WithPruningRatio(0.4).WithStrategy(new RandomSelection())
            .RunAsync(TestContext.Current.CancellationToken)).Plan;
    }

    private void CutsAsMasked(PrunableModel model, SelectionPlan plan)
    {
        using var scope = NewDisposeScope();
        string target = _folder.Below("pruned");
        new PrunedModelBuilder(model.Folder, plan).Build(target);
        using var pruned = PrunableModel.Load(target);
        Assert.Equal(plan.Blocks, pruned.Plan!.Blocks);
        Close.Within(1e-4, model.Logits(Tokens, Gates.FromPlan(plan, model.Backend)), pruned.Logits(Tokens), "logits");
    }

    /// <summary>How often both models think the same token likeliest.</summary>
    private static double Agreement(IPrunableModel one, IPrunableModel other)
    {
        using var scope = NewDisposeScope();
        return one.Logits(Tokens).argmax(-1).eq(other.Logits(Tokens).argmax(-1)).to(ScalarType.Float32).mean().ToDouble();
    }

    private sealed class Counting : TokenCorpus
    {
        public override string Description => "numbers in order";

        protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken) =>
            [.. Enumerable.Range(0, 200).Select(i => i % 64)];
    }

    /// <summary>Keeps the features that the calibration text begins with.</summary>
    private sealed class Surprise : ISelectionStrategy
    {
        public string Name => "surprise";

        public bool NeedsCalibration => true;

        public IReadOnlyDictionary<string, string> Settings => new Dictionary<string, string>();

        public async Task<SelectionOutcome> SelectAsync(SelectionRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            int[] tokens = request.Calibration!.Tokenize(CorpusContext.For(request.Model), cancellationToken);
            var layout = request.Model.GateLayout;
            var scores = new SelectionScores(layout, [.. Enumerable.Range(0, layout.Count).Select(i => (float)tokens[i % tokens.Length])]);
            return new SelectionOutcome(request.Project(Name, scores), scores, []);
        }
    }
}
