using CsCheck;
using Xunit;

namespace DispLlm.Tests;

public class SelectionPlanTests
{
    private static readonly DecoderSpec Mha = SelectionModels.LlamaMha;

    [Fact]
    public void Bad_lists_are_named_by_block_site_and_value()
    {
        var dense = SelectionPlan.Dense(Mha);
        (int[] List, string Says)[] cases =
        [
            ([], "block 1 S4 (MlpHidden): keeps nothing"),
            ([0, 48], "block 1 S4 (MlpHidden): index 48 at position 1 is not within 0 to 47"),
            ([-1, 3], "block 1 S4 (MlpHidden): index -1 at position 0 is not within 0 to 47"),
            ([3, 3], "block 1 S4 (MlpHidden): index 3 at position 1 is listed twice"),
            ([5, 3], "block 1 S4 (MlpHidden): index 3 at position 1 comes after 5"),
        ];
        foreach (var (list, says) in cases)
        {
            Assert.Contains(says, Message(() => dense.With(1, SelectionSite.MlpHidden, list)), StringComparison.Ordinal);
        }

        Assert.Contains("no block 2", Message(() => dense.With(2, SelectionSite.MlpHidden, [1])), StringComparison.Ordinal);
        SelectionPlan Of(params BlockSelection[] blocks) => new(dense.Model, blocks);
        Assert.Contains("has 1 blocks; the model has 2", Message(() => Of(dense.Blocks[0])), StringComparison.Ordinal);
        Assert.Contains("block 1: the selection is missing", Message(() => Of(dense.Blocks[0], null!)), StringComparison.Ordinal);
        Assert.Contains("(MlpInput): keeps nothing", Message(() => dense.With(0, SelectionSite.MlpInput, null!)), StringComparison.Ordinal);
        Assert.Throws<SelectionException>(() => dense with { NormOrder = (NormOrder)5 });
    }

    [Fact]
    public void Lists_are_copied()
    {
        int[] mine = [1, 2, 3];
        var plan = SelectionPlan.Dense(Mha).With(0, SelectionSite.AttentionInput, mine);
        mine[0] = 99;
        Assert.Equal([1, 2, 3], plan.Blocks[0].AttentionInput);
    }

    [Fact]
    public void A_plan_fits_its_own_model_only()
    {
        var plan = SelectionPlan.Dense(Mha);
        plan.Validate(Mha);
        plan.Validate(Mha with { MaxPositions = 4096 });
        DecoderSpec[] others =
        [
            Mha with { NumLayers = 3 }, Mha with { HiddenSize = 33 }, Mha with { IntermediateSize = 49 },
            Mha with { NumAttentionHeads = 8 },
            Mha with { HeadDim = 4 }, Mha with { NumKeyValueHeads = 2 }, Mha with { GatedMlp = false }, Mha with { MlpBias = true },
            Mha with { TieWordEmbeddings = true }, Mha with { QueryKeyValueBias = true }, Mha with { AttentionOutputBias = true },
            Mha with { VocabularySize = 65 },
        ];
        Assert.All(others, other => Assert.Contains(" is ", Message(() => plan.Validate(other)), StringComparison.Ordinal));
        string says = Message(() => plan.Validate(Mha with { IntermediateSize = 49 }));
        Assert.Contains("IntermediateSize is 48 here and 49 there", says, StringComparison.Ordinal);
    }

    [Fact]
    public void The_dense_plan_keeps_everything()
    {
        var plan = SelectionPlan.Dense(Mha);
        Assert.Equal(plan.DenseParameters, plan.KeptParameters);
        Assert.Equal(new ParameterCounter(Mha).Dense, plan.KeptParameters);
        Assert.All(plan.Widths(), widths => Assert.Equal(plan.Model.DenseWidths, widths));
        Assert.Equal(1.0, plan.KeptFraction());
        Assert.StartsWith("model, 2 blocks: 17,408 of 17,408 block weights kept", plan.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Edits_change_one_list_and_the_counts()
    {
        var dense = SelectionPlan.Dense(Mha) with { Family = "llama", Provenance = new PlanProvenance { Notes = "by hand" } };
        foreach (var site in Enum.GetValues<SelectionSite>())
        {
            var edited = dense.With(1, site, [2, 3]);
            var change = Assert.Single(dense.Diff(edited).Sites);
            Assert.Equal((1, site), (change.Block, change.Site));
            Assert.Equal([2, 3], edited.Blocks[1][site]);
            Assert.True(edited.KeptParameters.BlockWeights < dense.KeptParameters.BlockWeights);
            Assert.Equal(("llama", "by hand"), (edited.Family, edited.Provenance.Notes));
        }
    }

    [Fact]
    public void The_cache_shrinks_by_the_groups_that_go()
    {
        var dense = SelectionPlan.Dense(Mha);
        Assert.Equal(1, dense.KeptCacheFraction());
        Assert.Equal(1, dense.With(0, SelectionSite.AttentionInput, [1]).KeptCacheFraction());
        var without = dense.With(0, SelectionSite.AttentionGroups, []);
        Assert.Equal(0.5, without.KeptCacheFraction());
        Assert.Equal(0.125, without.With(1, SelectionSite.AttentionGroups, [3]).KeptCacheFraction());
        Assert.Equal(0, without.With(1, SelectionSite.AttentionGroups, []).KeptCacheFraction());
    }

    [Fact]
    public void Differences_are_listed_and_readable()
    {
        var before = SelectionPlan.Dense(Mha).With(0, SelectionSite.AttentionInput, [1, 2, 3]);
        var after = SelectionPlan.Dense(Mha).With(0, SelectionSite.AttentionInput, [2, 3, 7, 9]).With(1, SelectionSite.MlpOutput, [0]);
        var diff = before.Diff(after);
        Assert.Equal((2L, 32L), (diff.Added, diff.Removed));
        Assert.Equal([7, 9], diff.Sites[0].Added);
        Assert.Equal([1], diff.Sites[0].Removed);
        Assert.Equal(before.KeptParameters, diff.Before);
        Assert.Equal(after.KeptParameters, diff.After);
        Assert.Equal(
            "2 sites differ: +2 -32 indices; 14,624 -> 13,232 block weights\n"
            + "block 0 S1 (AttentionInput): +2 [7, 9] -1 [1]\n"
            + "block 1 S5 (MlpOutput): +0 -31 [1, 2, 3, 4, 5, 6, 7, 8, ...]",
            diff.ToString());
        Assert.True(before.Diff(before).IsEmpty);
        Assert.Equal("The plans select the same.", before.Diff(before).ToString());
        Assert.Throws<SelectionException>(() => before.Diff(SelectionPlan.Dense(SelectionModels.LlamaGqaBiasesTied)));
    }

    [Fact]
    public void A_difference_leads_from_one_plan_to_the_other() =>
        Gen.Select(SelectionModels.Small, Gen.Int[0, 1_000_000]).Sample((spec, seed) =>
        {
            var (before, after) = (SelectionModels.RandomPlan(spec, seed), SelectionModels.RandomPlan(spec, seed + 1));
            var walked = before;
            foreach (var change in before.Diff(after).Sites)
            {
                var list = before.Blocks[change.Block][change.Site].Except(change.Removed).Concat(change.Added).Order().ToArray();
                walked = walked.With(change.Block, change.Site, list);
            }

            Assert.Equal(after, walked);
            Assert.Equal(after.GetHashCode(), walked.GetHashCode());
        });

    private static string Message(Action action) => Assert.Throws<SelectionException>(action).Message;
}
