namespace DispLlm.Tests.Selection;

/// <summary>What a layout allows a plan to keep.</summary>
[Collection(nameof(LayoutPlanTests))]
public sealed class LayoutPlanTests
{
    private static readonly DecoderSpec s_spec = SelectionModels.LlamaMha;

    private static readonly int[] s_half = [.. Enumerable.Range(0, 16).Select(i => 2 * i)];

    [Theory]
    [InlineData(PruningLayout.Paper, SelectionSite.AttentionGroups)]
    [InlineData(PruningLayout.Blocks, SelectionSite.AttentionInput)]
    [InlineData(PruningLayout.Blocks, SelectionSite.MlpOutput)]
    [InlineData(PruningLayout.Mlp, SelectionSite.AttentionGroups)]
    [InlineData(PruningLayout.Mlp, SelectionSite.AttentionOutput)]
    [InlineData(PruningLayout.Stream, SelectionSite.AttentionGroups)]
    [InlineData(PruningLayout.Stock, SelectionSite.AttentionGroups)]
    public void A_site_that_does_not_select_is_whole(PruningLayout layout, SelectionSite site)
    {
        var plan = SelectionPlan.Dense(s_spec, layout);
        int size = plan.Model.SiteSize(site);
        string says = Message(() => plan.With(1, site, [0, 2]));
        Assert.Contains($"block 1 S{(int)site} ({site}): keeps 2 of {size} indices", says, StringComparison.Ordinal);
        Assert.Contains($"layout {layout} does not cut this site", says, StringComparison.Ordinal);
        Assert.Contains($"layout {layout}", Message(() => SelectionPlan.FromJson(WithLayout(
            SelectionPlan.Dense(s_spec).With(1, site, [0, 2]), layout))), StringComparison.Ordinal);
    }

    [Fact]
    public void One_stream_is_one_in_every_site_and_block()
    {
        foreach (var layout in new[] { PruningLayout.Stream, PruningLayout.Stock })
        {
            var whole = SelectionPlan.Dense(s_spec, layout);
            Assert.Contains(
                "block 1 S5 (MlpOutput): differs from block 0 S1", Message(() => whole.With(1, SelectionSite.MlpOutput, s_half)),
                StringComparison.Ordinal);

            // As many features, but others.
            var blocks = OneStream(s_half, 48, 48);
            Assert.Equal(16, new SelectionPlan(whole.Model, blocks, layout).Blocks[1].MlpInput.Count);
            blocks[1] = blocks[1].With(SelectionSite.MlpInput, [.. s_half.Select(i => i + 1)]);
            Assert.Contains("one selection", Message(() => _ = new SelectionPlan(whole.Model, blocks, layout)), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Stock_has_one_MLP_width()
    {
        var model = ModelShape.FromSpec(s_spec);
        Assert.Contains(
            "block 1 S4 (MlpHidden): keeps 30 indices and block 0 keeps 32",
            Message(() => _ = new SelectionPlan(model, OneStream(s_half, 32, 30), PruningLayout.Stock)), StringComparison.Ordinal);
        Assert.Equal(30, new SelectionPlan(model, OneStream(s_half, 32, 30), PruningLayout.Stream).Blocks[1].MlpHidden.Count);
        Assert.Equal(32, new SelectionPlan(model, OneStream(s_half, 32, 32), PruningLayout.Stock).Blocks[1].MlpHidden.Count);
    }

    [Fact]
    public void One_stream_leaves_one_order_of_norm_and_selection()
    {
        foreach (var layout in new[] { PruningLayout.Stream, PruningLayout.Stock })
        {
            var plan = SelectionPlan.Dense(s_spec, layout);
            Assert.Equal(NormOrder.SelectThenNorm, plan.NormOrder);
            Assert.Contains(
                "SelectThenNorm, not NormThenSelect", Message(() => _ = plan with { NormOrder = NormOrder.NormThenSelect }),
                StringComparison.Ordinal);
            string text = plan.ToJson().Replace("select_then_norm", "norm_then_select", StringComparison.Ordinal);
            Assert.Contains("SelectThenNorm", Message(() => SelectionPlan.FromJson(text)), StringComparison.Ordinal);

            // Norms after the sublayers are no obstacle: the stream that they see is cut.
            plan = SelectionPlan.Dense(s_spec with { NormPlacement = NormPlacement.PostNorm }, layout);
            plan.Validate(s_spec with { NormPlacement = NormPlacement.PostNorm });
        }
    }

    /// <summary>Sites of the paper take scales though they are kept whole; groups do where they are cut; one stream takes none.</summary>
    [Theory]
    [InlineData(PruningLayout.Paper, SelectionSite.AttentionGroups, false)]
    [InlineData(PruningLayout.Paper, SelectionSite.AttentionOutput, true)]
    [InlineData(PruningLayout.Blocks, SelectionSite.AttentionOutput, true)]
    [InlineData(PruningLayout.Blocks, SelectionSite.AttentionGroups, true)]
    [InlineData(PruningLayout.Mlp, SelectionSite.AttentionInput, true)]
    [InlineData(PruningLayout.Mlp, SelectionSite.AttentionGroups, false)]
    [InlineData(PruningLayout.Mlp, SelectionSite.MlpHidden, true)]
    [InlineData(PruningLayout.Stream, SelectionSite.MlpInput, false)]
    [InlineData(PruningLayout.Stream, SelectionSite.MlpOutput, false)]
    [InlineData(PruningLayout.Stock, SelectionSite.AttentionGroups, false)]
    [InlineData(PruningLayout.Stock, SelectionSite.MlpHidden, true)]
    [InlineData(PruningLayout.All, SelectionSite.AttentionGroups, true)]
    public void Scales_are_1_where_gates_do_not_act(PruningLayout layout, SelectionSite site, bool isAllowed)
    {
        var gates = new GateLayout(s_spec);
        float[] values = [.. Enumerable.Repeat(1f, gates.Count)];
        values[gates[1, site].Offset + 1] = 1.5f;
        var plan = SelectionPlan.Dense(s_spec, layout) with { Scales = new FeatureScales(gates, values) };
        if (isAllowed)
        {
            plan.Validate(s_spec);
            return;
        }

        Assert.Contains($"block 1 S{(int)site}", Message(() => plan.Validate(s_spec)), StringComparison.Ordinal);
    }

    /// <summary>A norm over all heads counts the groups that are kept: what follows it cannot be scaled by group.</summary>
    [Fact]
    public void Scales_of_groups_are_refused_where_all_heads_have_one_norm()
    {
        var gates = new GateLayout(s_spec);
        float[] values = [.. Enumerable.Repeat(1f, gates.Count)];
        values[gates[0, SelectionSite.AttentionGroups].Offset] = 0.5f;
        foreach (var norm in Enum.GetValues<QueryKeyNorm>())
        {
            var spec = s_spec with { QueryKeyNorm = norm };
            var plan = SelectionPlan.Dense(spec) with { Scales = new FeatureScales(gates, values) };
            if (norm == QueryKeyNorm.AllHeads)
            {
                Assert.Contains("block 0 S6", Message(() => plan.Validate(spec)), StringComparison.Ordinal);
            }
            else
            {
                plan.Validate(spec);
            }
        }
    }

    [Fact]
    public void Layouts_that_do_not_exist_are_refused()
    {
        var none = (PruningLayout)6;
        Assert.Contains("no layout 6", Message(() => SelectionPlan.Dense(s_spec, none)), StringComparison.Ordinal);
        Assert.Contains("no layout 6", Message(() => _ = new BudgetProjectionOptions { Layout = none }), StringComparison.Ordinal);
        Assert.Contains("no layout 6", Message(() => _ = new Gates(null!) { Layout = none }), StringComparison.Ordinal);
    }

    [Fact]
    public void A_plan_says_its_layout_and_differs_by_it()
    {
        foreach (var layout in Enum.GetValues<PruningLayout>())
        {
            var plan = SelectionPlan.Dense(s_spec, layout);
            Assert.Equal(layout, SelectionPlan.FromJson(plan.ToJson()).Layout);
            Assert.Equal(plan, SelectionPlan.FromJson(plan.ToJson()));
            Assert.Equal(layout == PruningLayout.All, plan.Equals(SelectionPlan.Dense(s_spec)));
        }
    }

    private static BlockSelection[] OneStream(int[] stream, params int[] mlpWidths) =>
    [
        .. mlpWidths.Select(width => new BlockSelection(SiteMap.Create<IReadOnlyList<int>>(site => site switch
        {
            SelectionSite.MlpHidden => [.. Enumerable.Range(0, width)],
            SelectionSite.AttentionGroups => [.. Enumerable.Range(0, s_spec.NumKeyValueHeads)],
            _ => stream,
        }))),
    ];

    private static string WithLayout(SelectionPlan plan, PruningLayout layout)
    {
        string order = layout is PruningLayout.Stream or PruningLayout.Stock ? "select_then_norm" : "norm_then_select";
        return plan.ToJson().Replace("\"all\"", $"\"{layout.ToString().ToLowerInvariant()}\"", StringComparison.Ordinal)
            .Replace("norm_then_select", order, StringComparison.Ordinal);
    }

    private static string Message(Action action) => Assert.Throws<SelectionException>(action).Message;
}
