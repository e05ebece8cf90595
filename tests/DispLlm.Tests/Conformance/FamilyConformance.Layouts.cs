using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Conformance;

/// <content>Key-value groups, blocks without attention, and every layout.</content>
public abstract partial class FamilyConformance<T>
{
    public static MatrixTheoryData<string, PruningLayout> FixturesInLayouts => new([.. T.Fixtures], Enum.GetValues<PruningLayout>());

    public static MatrixTheoryData<string, PruningLayout> FixturesWithOneStream =>
        new([.. T.Fixtures], [PruningLayout.Stream, PruningLayout.Stock]);

    /// <summary>
    /// Random masks over all six sites: blocks that keep all groups, some, or none, the first block among them, and no attention anywhere.
    /// </summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Pruned_over_six_sites_equals_masked(string name) => Run(name, (fixture, model) =>
    {
        for (int variant = 0; variant < 4; variant++)
        {
            foreach (var order in Orders(model))
            {
                using var scope = NewDisposeScope();
                AssertPrunedEqualsMasked(fixture, model, RandomMasks(model, order, variant));
            }
        }
    });

    /// <summary>Gains are folded into the weights wherever a layout has them; those of groups into the output projection.</summary>
    [Theory]
    [MemberData(nameof(FixturesInLayouts))]
    public void Pruned_in_a_layout_with_gains_equals_masked_with_them(string name, PruningLayout layout) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        Tensor tokens = fixture.Expected("input_ids");

        // A half-precision checkpoint rounds scaled weights.
        double tolerance = IsSinglePrecision(fixture.Folder) ? Tolerance : 0.05;
        foreach (var order in Orders(model, layout))
        {
            var plan = layout == PruningLayout.All ? RandomMasks(model, order, variant: 0) : AboutHalf(model, layout, order);
            plan = plan with { Scales = RandomGains(model, order, layout) };
            string target = folder.Below(order.ToString());
            new PrunedModelBuilder(fixture.Folder, T.Family, plan).Build(target);
            using var pruned = PrunableModel.Load(target, model.Backend, Options);
            using var gates = Gates.FromPlan(plan, model.Backend);
            Tensor masked = model.Logits(tokens, gates).cpu();
            Assert.Equal(plan, pruned.Plan);
            Close.Within(tolerance, masked, pruned.Logits(tokens), name);

            // In memory nothing is rounded.
            using var inMemory = model.Prune(plan);
            Close.Within(Tolerance, masked, inMemory.Logits(tokens), name);
        }
    });

    [Theory]
    [MemberData(nameof(FixturesInLayouts))]
    public void Pruned_in_a_layout_equals_masked(string name, PruningLayout layout) => Run(name, (fixture, model) =>
    {
        foreach (var order in Orders(model, layout))
        {
            AssertPrunedEqualsMasked(fixture, model, AboutHalf(model, layout, order));
        }
    });

    /// <summary>The slope of the loss along the gates of groups alone: the other sites would drown them.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Gate_gradients_of_groups_are_the_slope_of_the_loss(string name) => Run(name, (fixture, model) =>
    {
        using var random = new RandomSource(9).Stream("groups");
        foreach (var order in Orders(model))
        {
            Tensor gates = random.Uniform(model.GateLayout.Count) * 0.5 + 0.5, direction = random.Normal(model.GateLayout.Count);
            foreach (var site in model.GateLayout.Sites.Where(site => site.Site != SelectionSite.AttentionGroups))
            {
                direction.narrow(0, site.Offset, site.Size).zero_();
            }

            AssertSlope(model, new Gates(gates, order), direction, fixture.Expected("input_ids"));
            AssertSlope(
                model, new Gates(gates, order) { Layout = PruningLayout.Blocks }, direction, fixture.Expected("input_ids"));
        }
    });

    /// <summary>
    /// With one stream a gate is the whole model's: the slope along gates that are the same in all blocks is the sum of what each place
    /// says, embedding, norms and head included.
    /// </summary>
    [Theory]
    [MemberData(nameof(FixturesWithOneStream))]
    public void Gate_gradients_of_one_stream_are_the_slope_of_the_loss(string name, PruningLayout layout) => Run(name, (fixture, model) =>
    {
        using var random = new RandomSource(9).Stream("stream");
        using var learned = new LearnedGates(model.GateLayout, layout, CPU);
        Tensor others = 1 - learned.Mask();
        Tensor gates = learned.Expand(random.Uniform(learned.Count) * 0.5 + 0.5) + others;
        AssertSlope(
            model, new Gates(gates) { Layout = layout }, learned.Expand(random.Normal(learned.Count)), fixture.Expected("input_ids"));
    });

    /// <summary>In a layout that keeps all groups, their gates have no effect and no gradient; elsewhere gates act.</summary>
    [Theory]
    [MemberData(nameof(FixturesInLayouts))]
    public void Gates_of_groups_act_where_a_layout_cuts_groups_only(string name, PruningLayout layout) => Run(name, (fixture, model) =>
    {
        Tensor tokens = fixture.Expected("input_ids").narrow(1, 0, 8);
        Tensor gates = ones(model.GateLayout.Count), ofGroups = zeros(model.GateLayout.Count);
        foreach (var site in model.GateLayout.Sites.Where(site => site.Site == SelectionSite.AttentionGroups))
        {
            ofGroups.narrow(0, site.Offset, site.Size).fill_(1);
        }

        Tensor Logits(Tensor values) => model.Logits(tokens, new Gates(values.to(model.Backend.Device)) { Layout = layout }).cpu();
        double effect = (Logits(gates) - Logits(gates - (ofGroups * 0.5))).abs().max().ToDouble();
        using var gradients = Gradients(model, new Gates(gates * 0.75) { Layout = layout }, tokens);
        double slope = (gradients.Gradient.cpu() * ofGroups).abs().max().ToDouble();
        bool acts = layout is PruningLayout.All or PruningLayout.Blocks;
        Assert.Equal((acts, acts), (effect > 0, slope > 0));
        Assert.True((gradients.Gradient.cpu() * (1 - ofGroups)).abs().max().ToDouble() > 0);
        Close.Within(1e-5, model.Logits(tokens).cpu(), Logits(gates), name);
    });

    /// <summary>Corrected weights of blocks that keep some groups, or none, are the same in a folder and in memory.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task Reconstruction_of_blocks_without_groups_prunes_the_model(string name)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        using var model = PrunableModel.Load(fixture.Folder, TestBackend.New(), Options);
        using var random = new RandomSource(3).Stream("text");
        using var text = random.Uniform(400) * model.Spec.VocabularySize;
        var plan = RandomMasks(model, NormOrder.NormThenSelect, variant: 0);
        using var reconstruction = await WeightReconstruction.FitAsync(
            model, plan, TokenCorpus.FromTokens([.. text.data<float>().Select(number => (int)number)]),
            new ReconstructionOptions { SequenceLength = 16, HeldOutSequences = 4 },
            cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(model.Spec.NumLayers, reconstruction.Blocks.Count);
        string target = folder.Below("pruned");
        new PrunedModelBuilder(fixture.Folder, T.Family, plan, reconstruction).Build(target);

        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var pruned = PrunableModel.Load(target, model.Backend, Options);
        using var inMemory = model.Prune(plan, reconstruction.Weight);
        Tensor tokens = fixture.Expected("input_ids");
        double tolerance = IsSinglePrecision(fixture.Folder) ? Tolerance : 0.05;
        Close.Within(tolerance, inMemory.Logits(tokens).cpu(), pruned.Logits(tokens), name);
    }

    /// <summary>A block without attention holds no keys and values.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_block_without_attention_has_no_cache(string name) => Run(name, (fixture, model) =>
    {
        Tensor tokens = fixture.Expected("input_ids").narrow(0, 0, 1).narrow(1, 0, 5);
        long Held(int variant)
        {
            using var pruned = model.Prune(RandomMasks(model, NormOrder.NormThenSelect, variant));
            using var cache = pruned.CreateKeyValueCache();
            long before = LiveTensors.Before();
            pruned.NextTokenLogits(tokens, cache).Dispose();
            return LiveTensors.Before() - before;
        }

        int blocks = model.Spec.NumLayers, without = Enumerable.Range(0, blocks).Count(block => IsWithoutAttention(block, 1));
        Assert.InRange(without, 1, blocks - 1);

        // Keys and values are all that a cache grows by with a block.
        Assert.Equal(2 * (blocks - without), Held(1) - Held(3));
    });

    /// <summary>A plan of before groups and layouts fits its model still, and prunes to the same bytes.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_plan_of_format_1_prunes_to_the_same_bytes(string name) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        var free = fixture.Plan(model, NormOrder.NormThenSelect);
        var scales = RandomGains(model, NormOrder.NormThenSelect, PruningLayout.Paper);
        var plan = new SelectionPlan(free.Model, free.Blocks, PruningLayout.Paper) { Family = free.Family, Scales = scales };
        var older = SelectionPlan.FromJson(OlderPlans.ToFormat1(plan));
        older.Validate(model.Spec);
        Assert.Equal((PruningLayout.Paper, plan.Scales), (older.Layout, older.Scales));
        Assert.Equal(plan.Blocks, older.Blocks);
        Assert.Equal((plan.KeptParameters, plan.DenseParameters), (older.KeptParameters, older.DenseParameters));
        Assert.True(plan.Diff(older).IsEmpty && older.Diff(plan).IsEmpty);
        Assert.Throws<SelectionException>(() => older.Validate(model.Spec with { MlpBias = !model.Spec.MlpBias }));

        foreach (var (each, target) in new[] { (plan, "new"), (older, "old") })
        {
            new PrunedModelBuilder(fixture.Folder, T.Family, each).Build(folder.Below(target));
        }

        foreach (string file in Directory.GetFiles(folder.Below("new"), "*.safetensors"))
        {
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(folder.Below("old"), Path.GetFileName(file))));
        }

        using var pruned = PrunableModel.Load(folder.Below("old"), model.Backend, Options);
        Assert.Equal(older, pruned.Plan);
    });

    private static NormOrder[] Orders(PrunableModel model, PruningLayout layout) =>
        layout is PruningLayout.Stream or PruningLayout.Stock ? [NormOrder.SelectThenNorm] : Orders(model);

    private static void AssertPrunedEqualsMasked(Fixture fixture, PrunableModel model, SelectionPlan plan)
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("pruned"), what = $"{fixture.Name}, {plan.Layout}, {plan.NormOrder}";
        Tensor tokens = fixture.Expected("input_ids");
        new PrunedModelBuilder(fixture.Folder, T.Family, plan).Build(target);
        using var pruned = PrunableModel.Load(target, model.Backend, Options);
        using var inMemory = model.Prune(plan);

        Assert.Equal(plan, pruned.Plan);
        Assert.Equal(plan.ToJson(), File.ReadAllText(Path.Combine(target, SelectionPlan.FileName)));
        Assert.Equal(plan.KeptParameters.WholeModel, WeightsIn(target));
        Assert.Equal(plan.KeptParameters, CountParameters(pruned));
        foreach (var part in PresentParameters(pruned))
        {
            Assert.True(Parameter(pruned, part).Equals(Parameter(inMemory, part)), $"{what}: {part}");
        }

        using var gates = Gates.FromPlan(plan, model.Backend);
        Tensor logits = pruned.Logits(tokens);
        Close.Within(Tolerance, model.Logits(tokens, gates).cpu(), logits, what);
        Close.Within(1e-6, logits.cpu(), inMemory.Logits(tokens), what);
        AssertCacheChangesNothing(pruned, tokens.narrow(0, 0, 1), what);
    }

    private static void AssertCacheChangesNothing(PrunableModel pruned, Tensor tokens, string what)
    {
        using var cache = pruned.CreateKeyValueCache();
        int read = 0;
        foreach (int piece in new[] { 3, 1, 7, 1, 1 })
        {
            Tensor next = pruned.NextTokenLogits(tokens.narrow(1, read, piece), cache);
            read += piece;
            Assert.Equal(read, cache.Length);
            Close.Within(Tolerance, pruned.NextTokenLogits(tokens.narrow(1, 0, read)).cpu(), next, $"{what}, {read} tokens");
        }

        cache.Truncate(4);
        Tensor other = cat([tokens.narrow(1, 0, 4), tokens.narrow(1, 9, 2)], 1);
        Close.Within(
            Tolerance, pruned.NextTokenLogits(other).cpu(), pruned.NextTokenLogits(other.narrow(1, 4, 2), cache), $"{what}, truncated");
    }

    private static void AssertSlope(PrunableModel model, Gates gates, Tensor direction, Tensor tokens)
    {
        const double Step = 2e-4;
        double Loss(double step) => CausalLmLoss.Compute(
            model, tokens, gates with { Values = (gates.Values + direction * step).to(model.Backend.Device) }).ToDouble();
        double slope = (Loss(Step) - Loss(-Step)) / (2 * Step);
        using var saved = Gradients(model, gates, tokens);
        Assert.Equal(slope, (saved.Gradient.cpu() * direction).sum().ToDouble(), 0.02 * Math.Max(1, Math.Abs(slope)));

        using var recomputed = Gradients(model, gates, tokens, ActivationCheckpointing.PerBlock);
        Assert.Equal(TestBackend.Numbers(saved.Gradient), TestBackend.Numbers(recomputed.Gradient));
    }

    private static GateGradients Gradients(
        PrunableModel model, Gates gates, Tensor tokens, ActivationCheckpointing memory = ActivationCheckpointing.None)
    {
        using var gradient = enable_grad();
        return GateGradients.Compute(
            model, gates with { Values = gates.Values.to(model.Backend.Device) }, [tokens], memory, CancellationToken.None);
    }

    /// <summary>A plan of random scores that keeps half, or loses half of what the layout can remove.</summary>
    private static SelectionPlan AboutHalf(PrunableModel model, PruningLayout layout, NormOrder order)
    {
        var options = new BudgetProjectionOptions { Layout = layout, NormOrder = order, Family = T.Family.Name };
        var budget = PruningBudget.FromRatio(0.5);
        try
        {
            BudgetProjection.EnsureReachable(model.Spec, budget, options);
        }
        catch (BudgetException error)
        {
            long dense = new ParameterCounter(model.Spec).Dense.BlockWeights;
            budget = PruningBudget.FromParameters((dense + error.SmallestReachable!.Value) / 2);
        }

        return BudgetProjection.Project(model.Spec, SelectionModels.RandomScores(model.Spec, seed: 5), budget, options);
    }

    /// <summary>Random masks over all six sites; the variant says which block keeps all groups, some or none.</summary>
    private static SelectionPlan RandomMasks(PrunableModel model, NormOrder order, int variant)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(variant).Stream("masks");
        Tensor gates = (random.Uniform(model.GateLayout.Count) < 0.6).to(ScalarType.Float32);
        foreach (var site in model.GateLayout.Sites)
        {
            Tensor own = gates.narrow(0, site.Offset, site.Size);
            if (site.Site != SelectionSite.AttentionGroups)
            {
                own.narrow(0, random.Permutation(site.Size)[0], 1).fill_(1);
            }
            else if (IsWithoutAttention(site.Block, variant))
            {
                own.zero_();
            }
            else
            {
                // Some of them: never the first, where there are two or more; or all.
                own.fill_(1);
                own.narrow(0, 0, 1).fill_((site.Block + variant) % 3 == 2 || site.Size == 1 ? 1 : 0);
            }
        }

        return TestPlans.FromGates(model, gates, order);
    }

    /// <summary>The second block in variant 0, the first in variant 1, the third in variant 2, and every block in variant 3.</summary>
    private static bool IsWithoutAttention(int block, int variant) => variant == 3 || (block + variant) % 3 == 1;

    /// <summary>All parameters, but for norms of each head where there is no head: no tensor holds them.</summary>
    private static IEnumerable<ParameterDescriptor> PresentParameters(PrunableModel model) => ParameterCatalog.Parameters(model.Spec)
        .Where(part => model.Spec.QueryKeyNorm != QueryKeyNorm.PerHead || part.Role is not (WeightRole.QueryNorm or WeightRole.KeyNorm)
            || model.Plan!.Blocks[part.Block].AttentionGroups.Count > 0);

    private static Tensor Parameter(PrunableModel model, ParameterDescriptor part) =>
        part.IsBias ? model.Bias(part.Role, part.Block)! : model.Weight(part.Role, part.Block);

    /// <summary>The parameters that a model has, one by one.</summary>
    private static ParameterCount CountParameters(PrunableModel model)
    {
        long weights = 0, biases = 0, all = 0;
        foreach (var part in PresentParameters(model))
        {
            long count = Parameter(model, part).numel();
            bool isProjection = part.Block >= 0 && !part.Role.IsNorm();
            weights += isProjection && !part.IsBias ? count : 0;
            biases += isProjection && part.IsBias ? count : 0;
            all += count;
        }

        return new ParameterCount(weights, weights + biases, all);
    }
}
