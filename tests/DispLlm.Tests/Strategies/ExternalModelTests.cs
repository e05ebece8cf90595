using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Strategies;

/// <summary>A model that is implemented outside of the library, with only the members that have no default.</summary>
public sealed class ExternalModelTests
{
    private static readonly TokenCorpus s_text = TokenCorpus.FromTokens([.. Enumerable.Range(0, 1000).Select(i => 3 + i * i % 61)]);

    private static readonly FisherSelection s_fisher = new() { Rounds = 2, SequencesPerRound = 2, SequenceLength = 32 };

    private static readonly HypernetworkSelection s_learned = new() { Steps = 4, SequenceLength = 32, InitialScores = s_fisher };

    public static TheoryData<string> Strategies => [nameof(s_fisher), nameof(s_learned)];

    [Theory]
    [MemberData(nameof(Strategies))]
    public async Task It_gets_the_plan_of_the_same_model_inside(string strategy)
    {
        using var inside = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var outside = new Outside(inside);
        async Task<SelectionPlan> PlanAsync(IPrunableModel model) =>
            (await PruningPipeline.For(model).WithPruningRatio(0.4).WithCalibration(s_text)
            .WithStrategy(strategy == nameof(s_fisher) ? s_fisher : s_learned).RunAsync(TestContext.Current.CancellationToken)).Plan;
        Assert.Equal(await PlanAsync(inside), await PlanAsync(outside));
    }

    [Fact]
    public async Task It_is_evaluated_and_generates_without_a_cache()
    {
        using var inside = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var outside = new Outside(inside);
        var options = new PerplexityOptions { WindowLength = 32, MaxWindows = 4 };
        Assert.Equal(Perplexity.Evaluate(inside, s_text, options).MeanLoss, Perplexity.Evaluate(outside, s_text, options).MeanLoss, 1e-6);
        int[][] prompts = [[5, 6, 7], [9], [11, 12]];
        var generation = new GenerationOptions { MaxNewTokens = 5 };
        Assert.Equal(TextGenerator.Generate(inside, prompts, generation), TextGenerator.Generate(outside, prompts, generation));

        var result = await PruningPipeline.For(outside).WithPruningRatio(0.4).WithStrategy(new MagnitudeSelection())
            .RunAsync(TestContext.Current.CancellationToken);
        Assert.Contains("not loaded from a folder",
            (await Assert.ThrowsAsync<DispLlmException>(() => result.SaveAsync("nowhere"))).Message, StringComparison.Ordinal);
        var activations = PruningPipeline.For(outside).WithPruningRatio(0.4).WithCalibration(s_text)
            .WithStrategy(new ActivationMagnitudeSelection { Sequences = 1, SequenceLength = 32 });
        await Assert.ThrowsAsync<NotSupportedException>(() => activations.RunAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Gates_at_excluded_sites_are_never_closed_while_learning()
    {
        using var inside = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var outside = new Outside(inside);
        var learned = s_learned with
        {
            Options = s_learned.Options with { InitialLogitBias = 0, ScaleLearningRate = 0 },
            InitialScores = s_fisher with { ScaleStep = 0 }
        };
        var pipeline = PruningPipeline.For(outside).WithPruningRatio(0.2).WithCalibration(s_text).WithStrategy(learned)
            .WithExcludedBlocks(^1).WithExcludedSites(SelectionSite.AttentionInput).WithMaxBlockRatio(0.7);
        var result = await pipeline.RunAsync(TestContext.Current.CancellationToken);
        int excluded = 0, closed = 0;
        foreach (var site in inside.GateLayout.Sites)
        {
            bool isExcluded = site.Block == inside.Spec.NumLayers - 1
                || site.Site is SelectionSite.AttentionInput or SelectionSite.AttentionGroups;
            float[] gates = [.. outside.Seen.SelectMany(seen => seen[site.Offset..(site.Offset + site.Size)])];
            Assert.True(!isExcluded || gates.All(gate => gate == 1), $"{site}");
            Assert.True(!isExcluded || result.Plan.Blocks[site.Block][site.Site].Count == site.Size, $"{site}");
            (excluded, closed) = (excluded + (isExcluded ? 1 : 0), closed + gates.Count(gate => gate == 0));
        }

        Assert.Equal(8, excluded);
        Assert.True(closed > 0);
        Assert.Equal("excluded blocks ^1; excluded sites AttentionInput; at most 0.7 of a block removed", result.Plan.Provenance.Notes);
        Assert.Equal(inside.Spec.HiddenSize, result.PlanFor(0.1).Blocks[0].AttentionInput.Count);
        await Assert.ThrowsAsync<BudgetException>(() => pipeline.WithPruningRatio(0.6).RunAsync(TestContext.Current.CancellationToken));
    }

    private sealed class Outside(PrunableModel inside) : IPrunableModel
    {
        public List<float[]> Seen { get; } = [];

        public DecoderSpec Spec => inside.Spec;

        public IModelFamily Family => inside.Family;

        public ITensorBackend Backend => inside.Backend;

        public GateLayout GateLayout { get; } = new(inside.Spec);

        public Tensor HiddenStates(Tensor tokens, SequenceLayout? layout = null, Gates? gates = null)
        {
            if (gates is not null)
            {
                Seen.Add(gates.Values.data<float>().ToArray());
            }

            return inside.HiddenStates(tokens, layout, gates);
        }

        public Tensor ApplyLmHead(Tensor features) => inside.ApplyLmHead(features);

        public Tensor Weight(WeightRole role, int block = -1) => inside.Weight(role, block);

        public void Dispose()
        {
        }
    }
}
