using System.Globalization;
using CsCheck;
using Xunit;

namespace DispLlm.Tests;

[Collection(nameof(BudgetProjectionTests))]
public class BudgetProjectionTests
{
    private static readonly SelectionSite[] Sites = Enum.GetValues<SelectionSite>();

    // Those in which every site selects by itself, or not at all.
    private static readonly Gen<PruningLayout> FreeLayouts =
        Gen.OneOfConst(PruningLayout.Paper, PruningLayout.Blocks, PruningLayout.All, PruningLayout.Mlp);

    [Fact]
    public void Every_projection_keeps_its_promises() =>
        Gen.Select(
            SelectionModels.Small, FreeLayouts, Gen.Int[0, 1_000_000], SelectionModels.Scope, Gen.Int[1, 9], Gen.Bool, Gen.Int[0, 99])
            .Sample((spec, layout, seed, scope, multiple, ties, percent) =>
            {
                var scores = SelectionModels.RandomScores(spec, seed, ties ? 3 : int.MaxValue);
                var budget = PruningBudget.FromRatio(percent / 100.0) with { Scope = scope };
                var options = new BudgetProjectionOptions { WidthMultiple = multiple, Layout = layout };
                long target;
                try
                {
                    target = BudgetProjection.EnsureReachable(spec, budget, options);
                }
                catch (BudgetException error)
                {
                    EnsureHonest(spec, budget, options, error);
                    return;
                }

                var plan = BudgetProjection.Project(spec, scores, budget, options);
                Assert.True(plan.KeptParameters[scope] <= target);
                EnsureRanked(plan, scores);
                EnsureWidths(plan, multiple);
                EnsureNothingMoreFits(plan, scores, options, scope, target);
                Assert.Equal(plan, BudgetProjection.Project(spec, scores, budget, options));
            });

    [Fact]
    public void A_shared_stream_keeps_its_promises_too() =>
        Gen.Select(
            SelectionModels.Small,
            Gen.Int[0, 1_000_000],
            SelectionModels.Scope,
            Gen.Int[1, 5],
            Gen.Int[0, 90]).Sample((spec, seed, scope, multiple, percent) =>
        {
            var scores = SelectionModels.RandomScores(spec, seed, int.MaxValue);
            var budget = PruningBudget.FromRatio(percent / 100.0) with { Scope = scope };
            var options = new BudgetProjectionOptions { WidthMultiple = multiple, Layout = PruningLayout.Stream };
            try
            {
                BudgetProjection.EnsureReachable(spec, budget, options);
            }
            catch (BudgetException)
            {
                return;
            }

            var counter = new ParameterCounter(spec);
            var plan = BudgetProjection.Project(spec, scores, budget, options);
            long target = budget.TargetFor(counter);
            Assert.True(plan.KeptParameters[scope] <= target);
            int chunk = multiple == 1 ? spec.NumAttentionHeads : multiple;
            EnsureWidths(plan, multiple);
            var stream = plan.Blocks[0].AttentionInput;
            Assert.All(
                plan.Blocks,
                block => Assert.All(Sites.Where(site => site.Descriptor().IsOnStream), site => Assert.Equal(stream, block[site])));

            // One more chunk of the stream, in all sites at once, does not fit.
            int wider = Math.Min(stream.Count + chunk, spec.HiddenSize);
            var widths = plan.Widths().Select(
                width => SiteMap.Create(site => site.Descriptor().IsOnStream ? wider : width[site])).ToArray();
            Assert.True(wider == stream.Count || counter.Count(widths, PruningLayout.Stream)[scope] > target, "The stream could be wider.");
        });

    [Fact]
    public void Small_models_give_what_the_method_says_word_by_word() =>
        Gen.Select(SelectionModels.Small, FreeLayouts, Gen.Int[0, 1_000_000], SelectionModels.Scope, Gen.Int[1, 5], Gen.Int[0, 90])
            .Sample((spec, layout, seed, scope, multiple, percent) =>
            {
                var scores = SelectionModels.RandomScores(spec, seed, distinct: 40);
                var budget = PruningBudget.FromRatio(percent / 100.0) with { Scope = scope };
                var options = new BudgetProjectionOptions { WidthMultiple = multiple, Layout = layout };
                var counter = new ParameterCounter(spec);
                if (budget.TargetFor(counter) < counter.Count(Floor(spec, options))[scope])
                {
                    return;
                }

                var plan = BudgetProjection.Project(spec, scores, budget, options);
                Assert.Equal(Oracle(spec, scores, options, scope, budget.TargetFor(counter)), plan.Widths());
            }, iter: 200);

    [Fact]
    public void SmolLM2_ends_within_a_thousandth_below_any_budget()
    {
        var spec = SelectionModels.SmolLm2;
        for (int seed = 0; seed < 4; seed++)
        {
            var scores = SelectionModels.RandomScores(spec, seed);
            foreach (var scope in Enum.GetValues<ParameterScope>())
            {
                EnsureClose(spec, scores, PruningBudget.FromRatio(new Random(seed + 7).NextDouble() * 0.7) with { Scope = scope });
            }
        }
    }

    [Fact]
    public void LLaMA2_7B_ends_within_a_thousandth_below_its_budget()
    {
        var spec = SelectionModels.Llama2;
        var scores = SelectionModels.RandomScores(spec, 1);
        EnsureClose(spec, scores, PruningBudget.FromRatio(0.5));
        EnsureClose(spec, scores, PruningBudget.FromKeepFraction(0.3) with { Scope = ParameterScope.WholeModel });
    }

    [Fact]
    public void Equal_scores_fall_to_the_smaller_index_and_the_earlier_site()
    {
        var spec = SelectionModels.LlamaMha;
        var layout = new GateLayout(spec);
        var flat = new SelectionScores(layout, new float[layout.Count]);
        var plan = BudgetProjection.Project(spec, flat, PruningBudget.FromRatio(0.5));
        foreach (var block in plan.Blocks)
        {
            Assert.All(Sites, site => Assert.Equal(Enumerable.Range(0, block[site].Count), block[site]));
        }

        Assert.Equal(32, plan.Blocks[0].AttentionInput.Count);

        // The two zeros are one score.
        float[] zeros = new float[layout.Count];
        for (int i = 0; i < zeros.Length; i += 2)
        {
            zeros[i] = -0f;
        }

        Assert.Equal(plan, BudgetProjection.Project(spec, new SelectionScores(layout, zeros), PruningBudget.FromRatio(0.5)));
    }

    [Fact]
    public void A_dense_budget_keeps_everything()
    {
        var spec = SelectionModels.LlamaGqaBiasesTied;
        var plan = BudgetProjection.Project(
            spec, SelectionModels.RandomScores(spec, 3), PruningBudget.FromRatio(0), new() { WidthMultiple = 20 });
        Assert.True(plan.Diff(SelectionPlan.Dense(spec)).IsEmpty);
    }

    [Fact]
    public void An_unreachable_budget_names_the_closest()
    {
        var error = Assert.Throws<BudgetException>(
            () => BudgetProjection.EnsureReachable(SelectionModels.LlamaMha, PruningBudget.FromRatio(0.99)));
        // Per block: (32 + 64) + 32 for attention, 2 + 1 for the MLP.
        Assert.Equal(262, error.SmallestReachable);
        Assert.Contains("262", error.Message, StringComparison.Ordinal);
        Assert.Contains("a pruning ratio of 0.984949", error.Message, StringComparison.Ordinal);
        Assert.Equal(262, BudgetProjection.EnsureReachable(SelectionModels.LlamaMha, PruningBudget.FromParameters(262)));
        Assert.Throws<BudgetException>(() => BudgetProjection.EnsureReachable(
            SelectionModels.LlamaMha, PruningBudget.FromRatio(0.5), new() { WidthMultiple = 32 }));
        Assert.Throws<BudgetException>(() => new BudgetProjectionOptions { WidthMultiple = 0 });
    }

    [Fact]
    public void The_plan_says_where_it_came_from()
    {
        var spec = SelectionModels.LlamaMha;
        var budget = PruningBudget.FromRatio(0.25);
        var plan = BudgetProjection.Project(spec, SelectionModels.RandomScores(spec, 1), budget, new BudgetProjectionOptions
        {
            WidthMultiple = 4,
            NormOrder = NormOrder.SelectThenNorm,
            Family = "llama",
            Strategy = "fisher",
            Seed = 7,
            Notes = "a try",
        });
        Assert.Equal(("llama", NormOrder.SelectThenNorm), (plan.Family, plan.NormOrder));
        Assert.Equal(
            new PlanProvenance { Strategy = "fisher", Seed = 7, Notes = "a try", Budget = budget, WidthMultiple = 4 }, plan.Provenance);
    }

    [Fact]
    public void Scores_must_be_finite_and_fit_the_model()
    {
        var layout = new GateLayout(SelectionModels.LlamaMha);
        foreach (float bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            float[] values = new float[layout.Count];
            values[layout[1, SelectionSite.MlpHidden].Offset + 5] = bad;
            var error = Assert.Throws<SelectionException>(() => new SelectionScores(layout, values));
            Assert.Contains("block 1 S4 (MlpHidden): the score of gate 5", error.Message, StringComparison.Ordinal);
        }

        Assert.Throws<SelectionException>(() => new SelectionScores(layout, new float[3]));
        var other = SelectionModels.RandomScores(SelectionModels.SmolLm2, 1);
        Assert.Throws<SelectionException>(() => BudgetProjection.Project(SelectionModels.LlamaMha, other, PruningBudget.FromRatio(0.5)));
    }

    private static void EnsureClose(DecoderSpec spec, SelectionScores scores, PruningBudget budget)
    {
        long target = BudgetProjection.EnsureReachable(spec, budget);
        var plan = BudgetProjection.Project(spec, scores, budget);
        long kept = plan.KeptParameters[budget.Scope];
        Assert.InRange(kept, target - target / 1000, target);
        EnsureRanked(plan, scores);
    }

    private static void EnsureHonest(DecoderSpec spec, PruningBudget budget, BudgetProjectionOptions options, BudgetException error)
    {
        long smallest = error.SmallestReachable!.Value;
        Assert.Equal(new ParameterCounter(spec).Count(Floor(spec, options))[budget.Scope], smallest);
        string ratio = error.Message[(error.Message.LastIndexOf(' ') + 1)..^1];
        var suggested = PruningBudget.FromRatio(double.Parse(ratio, CultureInfo.InvariantCulture)) with { Scope = budget.Scope };
        Assert.True(BudgetProjection.EnsureReachable(spec, suggested, options) >= smallest);
    }

    private static void EnsureRanked(SelectionPlan plan, SelectionScores scores)
    {
        for (int block = 0; block < plan.Blocks.Count; block++)
        {
            foreach (var site in Sites)
            {
                var values = scores.ForSite(block, site);
                bool[] kept = new bool[values.Length];
                foreach (int index in plan.Blocks[block][site])
                {
                    kept[index] = true;
                }

                float worstKept = float.PositiveInfinity, bestDropped = float.NegativeInfinity;
                for (int i = 0; i < kept.Length; i++)
                {
                    worstKept = kept[i] ? Math.Min(worstKept, values[i]) : worstKept;
                    bestDropped = kept[i] ? bestDropped : Math.Max(bestDropped, values[i]);
                }

                Assert.True(worstKept >= bestDropped);
            }
        }
    }

    private static void EnsureWidths(SelectionPlan plan, int multiple)
    {
        foreach (var block in plan.Blocks)
        {
            Assert.All(Sites.Where(site => site != SelectionSite.AttentionGroups), site => Assert.True(
                block[site].Count > 0 && (block[site].Count % multiple == 0 || block[site].Count == plan.Model.SiteSize(site))));
        }
    }

    private static void EnsureNothingMoreFits(
        SelectionPlan plan, SelectionScores scores, BudgetProjectionOptions options, ParameterScope scope, long target)
    {
        var counter = new ParameterCounter(plan.Model);
        var widths = plan.Widths().ToArray();
        foreach (var range in scores.Layout.Sites.Where(range => options.Layout.Selects(range.Site)))
        {
            int width = widths[range.Block][range.Site], wider = Math.Min(width + Step(range.Site, options), range.Size);
            bool hasAttention = widths[range.Block][SelectionSite.AttentionGroups] > 0;

            // A group that would read and write next to nothing is not what the budget was short of.
            bool isOfUse = !MeansNothing(range.Site, widths[range.Block], plan.Model)
                && (hasAttention || range.Site != SelectionSite.AttentionGroups);
            if (wider > width && isOfUse)
            {
                var more = widths.ToArray();
                more[range.Block] = more[range.Block].With(range.Site, wider);
                Assert.True(counter.Count(more)[scope] > target);
            }
        }
    }

    /// <summary>Groups are counted one by one, whatever the multiple.</summary>
    private static int Step(SelectionSite site, BudgetProjectionOptions options) =>
        site == SelectionSite.AttentionGroups ? 1 : options.WidthMultiple;

    /// <summary>
    /// Whether a site is of no use because its block has no attention: it reads nothing, and writes nothing without a bias.
    /// </summary>
    private static bool MeansNothing(SelectionSite site, SiteMap<int> widths, ModelShape model) =>
        widths[SelectionSite.AttentionGroups] == 0
        && (site == SelectionSite.AttentionInput || (site == SelectionSite.AttentionOutput && !model.AttentionOutputBias));

    private static SiteMap<int>[] Floor(DecoderSpec spec, BudgetProjectionOptions options)
    {
        var shape = ModelShape.FromSpec(spec);
        return
        [
            .. Enumerable.Repeat(
                SiteMap.Create(site => !options.Layout.Selects(site) ? shape.SiteSize(site)
                    : site == SelectionSite.AttentionGroups ? 0
                    : Math.Min(options.WidthMultiple, shape.SiteSize(site))),
                spec.NumLayers),
        ];
    }

    /// <summary>
    /// The method as it is written: the longest prefix of chunks that fits, each counted anew, then what still fits; and of blocks without
    /// attention no more than the least at the sites that mean nothing then.
    /// </summary>
    private static SiteMap<int>[] Oracle(
        DecoderSpec spec, SelectionScores scores, BudgetProjectionOptions options, ParameterScope scope, long target)
    {
        var counter = new ParameterCounter(spec);
        var floor = Floor(spec, options);
        var chunks = new List<(double Score, int Order, GateRange Range, int From, int To)>();
        foreach (var range in scores.Layout.Sites)
        {
            float[] sorted = scores.ForSite(range.Block, range.Site).ToArray().OrderDescending().ToArray();
            int step = Step(range.Site, options);
            for (int from = floor[range.Block][range.Site]; from < sorted.Length; from += step)
            {
                int to = Math.Min(from + step, sorted.Length);
                chunks.Add((sorted[from..to].Average(x => (double)x), chunks.Count, range, from, to));
            }
        }

        var order = chunks.OrderByDescending(chunk => chunk.Score).ThenBy(chunk => chunk.Order).ToArray();
        SiteMap<int>[] Prefix(int length)
        {
            var widths = floor.ToArray();
            foreach (var chunk in order.Take(length))
            {
                widths[chunk.Range.Block] = widths[chunk.Range.Block].With(chunk.Range.Site, chunk.To);
            }

            return widths;
        }

        int longest = Enumerable.Range(0, order.Length + 1).Last(length => counter.Count(Prefix(length))[scope] <= target);
        var result = Prefix(longest);
        foreach (var chunk in order.Skip(longest).Where(chunk => result[chunk.Range.Block][chunk.Range.Site] == chunk.From))
        {
            var wider = result.ToArray();
            wider[chunk.Range.Block] = wider[chunk.Range.Block].With(chunk.Range.Site, chunk.To);
            result = counter.Count(wider)[scope] <= target ? wider : result;
        }

        return
        [
            .. result.Select((widths, block) => SiteMap.Create(site =>
                MeansNothing(site, widths, counter.Shape) ? floor[block][site] : widths[site])),
        ];
    }
}
