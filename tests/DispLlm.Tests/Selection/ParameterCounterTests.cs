using CsCheck;
using Xunit;

namespace DispLlm.Tests;

public class ParameterCounterTests
{
    private static readonly IReadOnlyList<SelectionSite> Sites = SelectionSites.All;

    [Fact]
    public void Fixtures_have_the_figures_their_script_counted()
    {
        // 2 blocks: 17408 weights; 2 * 64 * 32 embedding and head, 5 norms of 32.
        Assert.Equal(new ParameterCount(17408, 17408, 21664), new ParameterCounter(SelectionModels.LlamaMha).Dense);
        Assert.Equal(new ParameterCount(18432, 18944, 21152), new ParameterCounter(SelectionModels.LlamaGqaBiasesTied).Dense);
    }

    [Fact]
    public void Known_models_have_their_known_sizes()
    {
        var llama2 = new ParameterCounter(SelectionModels.Llama2).Dense;
        Assert.Equal(6_738_415_616, llama2.WholeModel);
        Assert.Equal(6_476_005_376, llama2.BlockWeights);
        Assert.Equal(134_515_008, new ParameterCounter(SelectionModels.SmolLm2).Dense.WholeModel);
    }

    [Fact]
    public void Any_selection_counts_like_its_matrices_one_by_one() =>
        Gen.Select(SelectionModels.Small, Gen.Int[0, 1_000_000]).Sample((spec, seed) =>
        {
            var plan = SelectionModels.RandomPlan(spec, seed);
            var counter = new ParameterCounter(spec);
            Assert.Equal(BruteForce(spec, plan), counter.Count(plan));
            Assert.Equal(BruteForce(spec, plan), counter.Count(plan.Widths()));
            Assert.Equal(BruteForce(spec, plan), plan.KeptParameters);
            Assert.Equal(BruteForce(spec, SelectionPlan.Dense(spec)), counter.Dense);
        });

    [Fact]
    public void One_stream_is_cut_out_of_embedding_head_and_norms() =>
        Gen.Select(SelectionModels.Small, Gen.Int[0, 1_000_000]).Sample((spec, seed) =>
        {
            var free = SelectionModels.RandomPlan(spec, seed);
            var stream = free.Blocks[0].AttentionInput;
            int[] groups = [.. Enumerable.Range(0, spec.NumKeyValueHeads)];
            var plan = new SelectionPlan(
                free.Model,
                [
                    .. free.Blocks.Select(block => new BlockSelection(SiteMap.Create(site => site switch
                    {
                        SelectionSite.MlpHidden => block.MlpHidden,
                        SelectionSite.AttentionGroups => groups,
                        _ => stream,
                    }))),
                ],
                PruningLayout.Stream);
            var counter = new ParameterCounter(spec);
            Assert.Equal(BruteForce(spec, plan), plan.KeptParameters);
            Assert.Equal(BruteForce(spec, plan), counter.Count(plan.Widths(), PruningLayout.Stream));
            Assert.Equal(counter.Dense, SelectionPlan.Dense(spec, PruningLayout.Stream).KeptParameters);
        });

    [Fact]
    public void Count_and_cost_per_index_follow_the_formula() =>
        Gen.Select(SelectionModels.Small, Gen.Int[0, 1_000_000], SelectionModels.Scope).Sample((spec, seed, scope) =>
        {
            var counter = new ParameterCounter(spec);
            var widths = SelectionModels.RandomPlan(spec, seed).Widths().ToArray();
            long b = scope == ParameterScope.BlockWeights ? 0 : 1, g = spec.GatedMlp ? 2 : 1;
            bool normsAreCut = scope == ParameterScope.WholeModel && spec.QueryKeyNorm is QueryKeyNorm.PerHead or QueryKeyNorm.AllHeads;
            long rest = scope == ParameterScope.WholeModel ? counter.Shape.OtherParameters : 0;
            long sum = rest + widths.Sum(w =>
            {
                long s1 = w[SelectionSite.AttentionInput], s2 = w[SelectionSite.AttentionOutput], s3 = w[SelectionSite.MlpInput];
                long s4 = w[SelectionSite.MlpHidden], s5 = w[SelectionSite.MlpOutput];
                long kv = (long)w[SelectionSite.AttentionGroups] * spec.HeadDim, q = kv * spec.NumAttentionHeads / spec.NumKeyValueHeads;
                long biases = (spec.QueryKeyValueBias ? q + 2 * kv : 0)
                    + (spec.AttentionOutputBias ? s2 : 0) + (spec.MlpBias ? g * s4 + s5 : 0);
                return (q + 2 * kv) * s1 + q * s2 + g * s3 * s4 + s4 * s5 + b * biases + (normsAreCut ? q + kv : 0);
            });
            Assert.Equal(counter.Count(widths)[scope], sum);

            foreach (var site in Sites.Where(site => widths[0][site] > 0))
            {
                var narrower = widths.ToArray();
                narrower[0] = widths[0].With(site, widths[0][site] - 1);
                long freed = counter.Count(widths)[scope] - counter.Count(narrower)[scope];
                Assert.Equal(freed, counter.CostPerIndex(site, widths[0], scope));
            }
        });

    [Fact]
    public void Widths_that_cannot_be_are_named()
    {
        var counter = new ParameterCounter(SelectionModels.LlamaMha);
        var dense = counter.Shape.DenseWidths;
        var three = Assert.Throws<SelectionException>(() => counter.Count([dense, dense, dense]));
        Assert.Contains("3 blocks", three.Message, StringComparison.Ordinal);
        var wide = Assert.Throws<SelectionException>(() => counter.Count([dense, dense.With(SelectionSite.MlpHidden, 49)]));
        Assert.Contains("block 1 S4 (MlpHidden): width 49 is not within 0 to 48", wide.Message, StringComparison.Ordinal);
        var zero = Assert.Throws<SelectionException>(() => new ParameterCounter(SelectionModels.LlamaMha with { IntermediateSize = 0 }));
        Assert.Contains("IntermediateSize is 0", zero.Message, StringComparison.Ordinal);
        var huge = SelectionModels.LlamaMha with { HiddenSize = int.MaxValue, IntermediateSize = int.MaxValue, NumLayers = int.MaxValue };
        foreach (var spec in new[] { huge, huge with { HiddenSize = 9999999 } })
        {
            var large = Assert.Throws<SelectionException>(() => new ParameterCounter(spec));
            Assert.Contains("too large to be counted", large.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_plan_of_another_model_is_not_counted()
    {
        var plan = SelectionPlan.Dense(SelectionModels.LlamaMha);
        var counter = new ParameterCounter(SelectionModels.LlamaGqaBiasesTied);
        Assert.Contains(
            "KeyValueHeads is 4", Assert.Throws<SelectionException>(() => counter.Count(plan)).Message, StringComparison.Ordinal);
    }

    /// <summary>The same count the long way: every matrix, every row, every column that is left.</summary>
    private static ParameterCount BruteForce(DecoderSpec spec, SelectionPlan plan)
    {
        long weights = 0, biases = 0;
        void Matrix(int rows, int columns, bool bias)
        {
            for (int row = 0; row < rows; row++)
            {
                biases += bias ? 1 : 0;
                for (int column = 0; column < columns; column++)
                {
                    weights++;
                }
            }
        }

        long headNorms = 0;
        foreach (var block in plan.Blocks)
        {
            int keyValue = block.AttentionGroups.Count * spec.HeadDim, query = keyValue * (spec.NumAttentionHeads / spec.NumKeyValueHeads);
            Matrix(query, block.AttentionInput.Count, spec.QueryKeyValueBias);
            Matrix(keyValue, block.AttentionInput.Count, spec.QueryKeyValueBias);
            Matrix(keyValue, block.AttentionInput.Count, spec.QueryKeyValueBias);
            Matrix(block.AttentionOutput.Count, query, spec.AttentionOutputBias);
            headNorms += spec.QueryKeyNorm switch
            {
                QueryKeyNorm.None => 0,
                QueryKeyNorm.SharedByHeads => 2 * spec.HeadDim,
                _ => query + keyValue,
            };
            Matrix(block.MlpHidden.Count, block.MlpInput.Count, spec.MlpBias);
            if (spec.GatedMlp)
            {
                Matrix(block.MlpHidden.Count, block.MlpInput.Count, spec.MlpBias);
            }

            Matrix(block.MlpOutput.Count, block.MlpHidden.Count, spec.MlpBias);
        }

        // One selection of the stream narrows all that holds it: embedding, head and every norm.
        long stream = plan.Layout == PruningLayout.Stream ? plan.Blocks[0].AttentionInput.Count : spec.HiddenSize;
        long embeddings = spec.VocabularySize * stream * (spec.TieWordEmbeddings ? 1 : 2);
        long rest = embeddings + ((2L * spec.NumLayers) + 1) * stream + headNorms;
        return new ParameterCount(weights, weights + biases, weights + biases + rest);
    }
}
