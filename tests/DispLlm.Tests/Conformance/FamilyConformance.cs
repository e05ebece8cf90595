using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Conformance;

/// <summary>What a family's conformance class says of its family; everything else is the suite's.</summary>
public interface IFamilyUnderTest
{
    static abstract IModelFamily Family { get; }

    /// <summary>Names of its fixture folders.</summary>
    static abstract IReadOnlyList<string> Fixtures { get; }

    /// <summary>Models as they are published: the keys of their configuration that matter, and their total of parameters.</summary>
    static abstract IReadOnlyList<PublishedModel> Published { get; }
}

public sealed record PublishedModel(string Name, string Config, long Parameters);

/// <summary>What every family has to hold, on each of its fixtures and at the sizes of its published models.</summary>
public abstract partial class FamilyConformance<T>
    where T : IFamilyUnderTest
{
    private const double Tolerance = 1e-4;

    public static TheoryData<string> Fixtures => [.. T.Fixtures];

    public static TheoryData<string> FixturesThatSelectFirst =>
        [.. T.Fixtures.Where(name => { using var fixture = new Fixture(name); return fixture.Has("masked_logits_select_then_norm"); })];

    public static TheoryData<string> PublishedModels => [.. T.Published.Select(model => model.Name)];

    private static LoadOptions Options => new() { Families = FamiliesWith(T.Family) };

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Dense_logits_are_those_of_the_reference(string name) => Run(name, (fixture, model) =>
        Close.Within(Tolerance, fixture.Expected("logits"), model.Logits(fixture.Expected("input_ids")), name));

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Masked_logits_are_those_of_the_reference(string name) => Run(name, (fixture, model) => Close.Within(
        Tolerance,
        fixture.Expected("masked_logits"),
        model.Logits(fixture.Expected("input_ids"), new Gates(fixture.Gates(model.GateLayout))),
        name));

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(FixturesThatSelectFirst))]
    public void Masked_logits_with_selection_first_are_those_of_the_reference(string name) => Run(name, (fixture, model) => Close.Within(
        Tolerance,
        fixture.Expected("masked_logits_select_then_norm"),
        model.Logits(fixture.Expected("input_ids"), new Gates(fixture.Gates(model.GateLayout), NormOrder.SelectThenNorm)),
        name));

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Greedy_continuation_is_that_of_the_reference(string name) =>
        Run(name, (fixture, model) => AssertContinues(fixture, model, "generated", null));

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Masked_greedy_continuation_is_that_of_the_reference(string name) =>
        Run(name, (fixture, model) => AssertContinues(fixture, model, "masked_generated", new Gates(fixture.Gates(model.GateLayout))));

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Parameters_are_counted_as_in_the_reference(string name) => Run(name, (fixture, model) =>
    {
        var counter = new ParameterCounter(model.Spec);
        Assert.Equal(fixture.Facts.GetProperty("block_linear_weights").GetInt64(), counter.Dense.BlockWeights);
        Assert.Equal(fixture.Facts.GetProperty("all_parameters").GetInt64(), counter.Dense.WholeModel);
        Assert.Equal(
            fixture.Facts.GetProperty("block_linear_weights_kept_by_masks").GetInt64(),
            counter.Count(fixture.Plan(model, NormOrder.NormThenSelect)).BlockWeights);
    });

    /// <summary>Cut by the fixture's masks, saved and loaded, the model computes what the masked dense one does, in either order.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Pruned_equals_masked(string name) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        Tensor tokens = fixture.Expected("input_ids");
        foreach (var order in Orders(model))
        {
            string target = folder.Below(order.ToString());
            var plan = fixture.Plan(model, order);
            new PrunedModelBuilder(fixture.Folder, T.Family, plan).Build(target);
            using var pruned = PrunableModel.Load(target, model.Backend, Options);
            Assert.Equal(plan.Blocks, pruned.Plan!.Blocks);
            Tensor masked = model.Logits(tokens, new Gates(fixture.Gates(model.GateLayout), order));
            Close.Within(Tolerance, masked.cpu(), pruned.Logits(tokens), name);
            Assert.Equal(new ParameterCounter(model.Spec).Count(plan).WholeModel, WeightsIn(target));
        }
    });

    /// <summary>Gains that the weights have taken over do what they do at the gates.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Pruned_by_a_plan_with_gains_equals_masked_with_them(string name) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        Tensor tokens = fixture.Expected("input_ids");
        foreach (var order in Orders(model))
        {
            string target = folder.Below(order.ToString());
            var plan = fixture.Plan(model, order) with { Scales = RandomGains(model, order) };
            new PrunedModelBuilder(fixture.Folder, T.Family, plan).Build(target);
            using var pruned = PrunableModel.Load(target, model.Backend, Options);
            using var gates = Gates.FromPlan(plan, model.Backend);
            Tensor masked = model.Logits(tokens, gates);
            Assert.Equal(plan, pruned.Plan);

            // A half-precision checkpoint rounds scaled weights; that is no error of the pruned model.
            double tolerance = IsSinglePrecision(fixture.Folder) ? Tolerance : 0.02;
            Close.Within(tolerance, masked.cpu(), pruned.Logits(tokens), name);
            using var plain = new Gates(fixture.Gates(model.GateLayout), order);
            Assert.True((model.Logits(tokens, plain) - masked).abs().max().ToDouble() > 2 * tolerance * masked.abs().max().ToDouble());
        }
    });

    /// <summary>The slope of the loss along a direction is what the gates' gradients say, in either order.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Gate_gradients_are_the_slope_of_the_loss(string name) => Run(name, (fixture, model) =>
    {
        // A longer step meets more of the kinks of ReLU; a shorter one is lost in the rounding of the loss.
        const double Step = 2e-4;
        Tensor tokens = fixture.Expected("input_ids");
        using var random = new RandomSource(7).Stream("gates");
        foreach (var order in Orders(model))
        {
            Tensor gates = random.Uniform(model.GateLayout.Count) * 0.5 + 0.5, direction = random.Normal(model.GateLayout.Count);
            double Loss(double step) => CausalLmLoss.Compute(model, tokens, new Gates(gates + direction * step, order)).ToDouble();
            double slope = (Loss(Step) - Loss(-Step)) / (2 * Step);
            using var gradients = ComputeGradients(model, gates, order, tokens);
            Assert.Equal(slope, (gradients.Gradient.cpu() * direction).sum().ToDouble(), 0.02 * Math.Max(1, Math.Abs(slope)));
        }
    });

    /// <summary>Matrix multiplications that skip closed gates give the gradients of all gates, closed ones too.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void What_closed_gates_leave_out_changes_no_gradient(string name) => Run(name, (fixture, model) =>
    {
        Tensor plain = fixture.Gates(model.GateLayout);
        foreach (Tensor hard in new[] { plain, plain * tensor(RandomGains(model).Values.ToArray()) })
        {
            // Closed gates are not quite closed: nothing is left out then.
            Tensor soft = hard + 1e-12 * (1 - plain);
            foreach (var order in Orders(model))
            {
                using var gradients = ComputeGradients(model, hard, order, fixture.Expected("input_ids"));
                using var whole = ComputeGradients(model, soft, order, fixture.Expected("input_ids"));
                Close.Within(Tolerance, whole.Gradient.cpu(), gradients.Gradient, name);
            }
        }
    });

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Keeping_block_inputs_only_changes_no_byte_of_a_gradient(string name) => Run(name, (fixture, model) =>
    {
        Tensor gates = fixture.Gates(model.GateLayout);
        foreach (var order in Orders(model))
        {
            using var all = ComputeGradients(model, gates, order, fixture.Expected("input_ids"), ActivationCheckpointing.None);
            using var inputs = ComputeGradients(model, gates, order, fixture.Expected("input_ids"), ActivationCheckpointing.PerBlock);
            Assert.Equal(all.CrossEntropy, inputs.CrossEntropy);
            Assert.Equal(TestBackend.Numbers(all.Gradient), TestBackend.Numbers(inputs.Gradient));
        }
    });

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_block_run_in_stages_gives_the_same_result(string name) => Run(name, (fixture, model) =>
    {
        using var noGradient = no_grad();
        using var gates = new Gates(fixture.Gates(model.GateLayout).clone());
        Tensor stream = model.Network.Embed(fixture.Expected("input_ids"));
        for (int block = 0; block < model.Spec.NumLayers; block++)
        {
            Tensor entered = stream.clone(), whole = model.Network.ForwardBlock(block, stream, model.Network.GatedPolicyFor(block, gates));
            using var pass = model.Network.StageBlock(block, stream, model.Network.GatedPolicyFor(block, gates));
            pass.Step();
            using Tensor staged = pass.Finish();
            Assert.Equal(TestBackend.Numbers(whole), TestBackend.Numbers(staged));
            Assert.Equal(TestBackend.Numbers(entered), TestBackend.Numbers(stream));
            stream = whole;
        }
    });

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Selection_before_norms_is_refused_where_norms_come_last(string name) => Run(name, (fixture, model) =>
    {
        Assert.Equal(
            model.Spec.NormPlacement is NormPlacement.PreNorm or NormPlacement.PreAndOutputNorm,
            Orders(model).Contains(NormOrder.SelectThenNorm));
        if (model.Spec.NormPlacement is NormPlacement.PostNorm or NormPlacement.OutputNorm)
        {
            var gates = new Gates(fixture.Gates(model.GateLayout), NormOrder.SelectThenNorm);
            Assert.Contains(
                "come after the sublayers", Assert.Throws<SelectionException>(
                    () => model.Logits(fixture.Expected("input_ids"), gates)).Message, StringComparison.Ordinal);
            Assert.Throws<SelectionException>(() => fixture.Plan(model, NormOrder.SelectThenNorm).Validate(model.Spec));
            Assert.Throws<SelectionException>(() => BudgetProjection.EnsureReachable(
                model.Spec, PruningBudget.FromRatio(0.5), new BudgetProjectionOptions { NormOrder = NormOrder.SelectThenNorm }));
        }
    });

    /// <summary>A plan that keeps everything writes the very bytes of every weight, under the very names.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_plan_that_keeps_everything_changes_nothing(string name) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("whole");
        new PrunedModelBuilder(fixture.Folder, T.Family, SelectionPlan.Dense(model.Spec) with { Family = T.Family.Name }).Build(target);
        using var dense = CheckpointFolder.Open(fixture.Folder);
        using var whole = CheckpointFolder.Open(target);
        string[] read = [.. ParameterCatalog.CheckpointTensors(model.Spec, T.Family, dense).Select(slot => slot.Name)];
        Assert.Equal(read.Order(), whole.TensorNames.Where(tensor => !tensor.StartsWith("displlm.", StringComparison.Ordinal)).Order());
        Assert.All(
            dense.TensorNames.Except(read),
            tensor => Assert.True(T.Family.IsIgnorable(tensor) || tensor.StartsWith("lm_head", StringComparison.Ordinal), tensor));
        foreach (string tensor in read)
        {
            Assert.Equal(dense.Info(tensor).Shape, whole.Info(tensor).Shape);
            Assert.True(dense.Bytes(tensor).SequenceEqual(whole.Bytes(tensor)), tensor);
        }
    });

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_missing_extra_or_misshapen_tensor_is_named(string name)
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        using var checkpoint = CheckpointFolder.Open(Fixture.GetFolder(name));
        var tensors = checkpoint.TensorNames.ToDictionary(tensor => tensor, tensor => checkpoint.Read(tensor));
        var slots = ParameterCatalog.CheckpointTensors(DecoderSpec.Read(checkpoint.Config, T.Family), T.Family, checkpoint);
        string victim = slots.First(slot => slot.Parts.Any(part => part.Parameter.Role == WeightRole.MlpUp)).Name;

        void Refused(string what, Dictionary<string, Tensor> changed, string culprit)
        {
            string broken = folder.Below(what);
            Directory.CreateDirectory(broken);
            File.Copy(Path.Combine(checkpoint.FolderPath, "config.json"), Path.Combine(broken, "config.json"));
            Write(Path.Combine(broken, "model.safetensors"), changed);
            var error = Assert.Throws<CheckpointException>(() => PrunableModel.Load(broken, options: Options));
            Assert.Contains(culprit, error.Message, StringComparison.Ordinal);
        }

        foreach (var slot in slots)
        {
            Refused("missing " + slot.Name, tensors.Where(entry => entry.Key != slot.Name).ToDictionary(), slot.Name);
        }

        Refused("extra", new(tensors) { ["model.layers.0.adapter.weight"] = ones(2, 2) }, "model.layers.0.adapter.weight");
        Refused("misshapen", new(tensors) { [victim] = tensors[victim].t().contiguous() }, victim);
    }

    /// <summary>With a cache, read in pieces, every token follows as it does from the whole text: beyond a sliding window too.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Text_read_in_pieces_equals_text_read_at_once(string name) => Run(name, (fixture, model) =>
    {
        Tensor tokens = fixture.Expected("input_ids").narrow(0, 0, 1);
        using var cache = model.CreateKeyValueCache();
        int read = 0;
        foreach (int piece in new[] { 3, 1, 7, 1, 1, 5 })
        {
            Tensor next = model.NextTokenLogits(tokens.narrow(1, read, piece), cache);
            read += piece;
            Close.Within(Tolerance, model.NextTokenLogits(tokens.narrow(1, 0, read)).cpu(), next, $"{name}, {read} tokens");
        }

        // Back to a prefix, and another way on.
        cache.Truncate(5);
        Tensor other = cat([tokens.narrow(1, 0, 5), tokens.narrow(1, 9, 4)], 1);
        Close.Within(
            Tolerance, model.NextTokenLogits(other).cpu(), model.NextTokenLogits(other.narrow(1, 5, 4), cache), $"{name}, truncated");
    });

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_padded_row_of_a_batch_equals_the_row_alone(string name) => Run(name, (fixture, model) =>
    {
        const int Padding = 3, Length = 14;
        Tensor tokens = fixture.Expected("input_ids");
        Tensor batch = tokens.narrow(1, 0, Length).clone();
        batch[1].narrow(0, Padding, Length - Padding).copy_(tokens[1].narrow(0, 0, Length - Padding));
        using var cache = model.CreateKeyValueCache([0, Padding]);
        Tensor prefill = model.NextTokenLogits(batch.narrow(1, 0, Length - 1), cache);
        Tensor step = model.NextTokenLogits(batch.narrow(1, Length - 1, 1), cache);
        for (int row = 0; row < 2; row++)
        {
            Tensor alone = batch.narrow(0, row, 1).narrow(1, row * Padding, Length - (row * Padding));
            Close.Within(
                Tolerance, model.NextTokenLogits(alone.narrow(1, 0, alone.shape[1] - 1)).cpu(), prefill.narrow(0, row, 1), name);
            Close.Within(Tolerance, model.NextTokenLogits(alone).cpu(), step.narrow(0, row, 1), name);
        }
    });

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_causal_layout_equals_no_layout(string name) => Run(name, (fixture, model) =>
    {
        Tensor tokens = fixture.Expected("input_ids");
        long length = tokens.shape[1];
        Tensor positions = arange(length).unsqueeze(0).repeat(2, 1), mask = ones(2, length, length).tril().to(ScalarType.Bool);
        Close.Within(
            Tolerance, model.HiddenStates(tokens).cpu(), model.HiddenStates(tokens, new SequenceLayout(positions, mask)), name);
    });

    /// <summary>
    /// Loading, a forward pass, gradients and decoding with a cache leave no tensor, whatever a family stores and computes.
    /// </summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public void No_tensor_is_left_over(string name)
    {
        using var fixture = new Fixture(name);
        using var tokens = fixture.Expected("input_ids");
        void Use()
        {
            using var model = PrunableModel.Load(fixture.Folder, TestBackend.New(), Options);
            using var open = ones(model.GateLayout.Count);
            using (ComputeGradients(model, open, NormOrder.NormThenSelect, tokens))
            {
            }

            using var cache = model.CreateKeyValueCache([0, 2]);
            for (int read = 0, piece = 9; read + piece <= tokens.shape[1]; read += piece, piece = 1)
            {
                using var next = tokens.narrow(1, read, piece);
                using var logits = model.NextTokenLogits(next, cache);
            }
        }

        Use();
        long before = LiveTensors.Before();
        Use();
        Assert.Equal(before, LiveTensors.Before());
    }

    /// <summary>Every measured strategy, and reconstruction, run on every family; what they save is what they promise.</summary>
    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task A_measured_selection_with_reconstruction_prunes_the_model(string name)
    {
        using var folder = new TemporaryFolder();
        var backend = TestBackend.New();
        using var model = PrunableModel.Load(Fixture.GetFolder(name), backend, Options);
        using var random = new RandomSource(3).Stream("text");
        using var text = random.Uniform(500) * model.Spec.VocabularySize;
        var corpus = TokenCorpus.FromTokens([.. text.data<float>().Select(number => (int)number)]);
        ISelectionStrategy[] strategies = [new MagnitudeSelection(), new ActivationMagnitudeSelection { SequenceLength = 16 }];
        foreach (var strategy in strategies)
        {
            var result = await PruningPipeline.For(model).WithPruningRatio(0.4).WithCalibration(corpus).WithStrategy(strategy)
                .RunAsync(TestContext.Current.CancellationToken);
            Assert.InRange(result.KeptFraction(), 0.5, 0.6);
            if (strategy is MagnitudeSelection)
            {
                continue;
            }

            using var reconstruction = await WeightReconstruction.FitAsync(
                model, result.Plan, corpus, new ReconstructionOptions { SequenceLength = 16, HeldOutSequences = 4 },
                cancellationToken: TestContext.Current.CancellationToken);
            string target = folder.Below(strategy.Name);
            await result.SaveAsync(target, reconstruction, cancellationToken: TestContext.Current.CancellationToken);
            using var pruned = PrunableModel.Load(target, backend, Options);
            using var inMemory = model.Prune(result.Plan, reconstruction.Weight);
            using var scope = NewDisposeScope();
            using var noGradient = no_grad();
            using var fixture = new Fixture(name);
            Tensor tokens = fixture.Expected("input_ids");
            double tolerance = IsSinglePrecision(fixture.Folder) ? Tolerance : 0.05;
            Close.Within(tolerance, inMemory.Logits(tokens).cpu(), pruned.Logits(tokens), name);
        }
    }

    /// <summary>Published sizes on the memory-free device: right counts, right shapes, and no tensor that hides on the CPU.</summary>
    [Theory]
    [MemberData(nameof(PublishedModels))]
    public void A_published_model_has_its_published_size(string name)
    {
        var published = T.Published.Single(model => model.Name == name);
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.FromConfig(
            ModelConfig.Parse(published.Config, name), TorchBackend.Meta(ScalarType.BFloat16), Options);
        Assert.Equal(published.Parameters, new ParameterCounter(model.Spec).Dense.WholeModel);

        Tensor gates = empty(model.GateLayout.Count, ScalarType.Float32, model.Backend.Device);
        foreach (var use in Orders(model).Select(order => new Gates(gates, order)).Prepend(null))
        {
            Tensor logits = model.Logits(empty([1, 16], ScalarType.Int64, model.Backend.Device), use);
            Assert.Equal([1, 16, model.Spec.VocabularySize], logits.shape);
            Assert.Equal(DeviceType.META, logits.device_type);
        }
    }

    private static void Run(string name, Action<Fixture, PrunableModel> check)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var fixture = new Fixture(name);
        using var model = PrunableModel.Load(fixture.Folder, TestBackend.New(), Options);
        Assert.Same(T.Family, model.Family);
        check(fixture, model);
    }

    private static GateGradients ComputeGradients(
        PrunableModel model,
        Tensor gates,
        NormOrder order,
        Tensor tokens,
        ActivationCheckpointing memory = ActivationCheckpointing.Automatic)
    {
        using var gradient = enable_grad();
        return GateGradients.Compute(model, gates.to(model.Backend.Device), order, [tokens], memory: memory);
    }

    private static ModelFamilies FamiliesWith(IModelFamily family) =>
        ModelFamilies.BuiltIn.Find(family.Name) is null ? ModelFamilies.BuiltIn.Add(family) : ModelFamilies.BuiltIn;

    private static NormOrder[] Orders(PrunableModel model) =>
        model.Spec.NormPlacement is NormPlacement.PreNorm or NormPlacement.PreAndOutputNorm
            ? [NormOrder.NormThenSelect, NormOrder.SelectThenNorm]
            : [NormOrder.NormThenSelect];

    /// <summary>Gains from 0.5 to 1.5, where the order leaves them.</summary>
    private static FeatureScales RandomGains(
        PrunableModel model, NormOrder order = NormOrder.NormThenSelect, PruningLayout layout = PruningLayout.All)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(11).Stream("gains");
        float[] gains = (random.Uniform(model.GateLayout.Count) + 0.5).data<float>().ToArray();
        foreach (var site in model.GateLayout.Sites.Where(site =>
            !order.TakesScales(model.GateLayout.Model, layout, site.Site)))
        {
            gains.AsSpan(site.Offset, site.Size).Fill(1);
        }

        return new FeatureScales(model.GateLayout, gains);
    }

    private static bool IsSinglePrecision(string folder)
    {
        using var checkpoint = CheckpointFolder.Open(folder);
        return checkpoint.TensorNames.All(name => checkpoint.Info(name).Type == ScalarType.Float32);
    }

    private static void AssertContinues(Fixture fixture, PrunableModel model, string tensor, Gates? gates)
    {
        long[] expected = fixture.Expected(tensor).data<long>().ToArray();
        Tensor prompt = fixture.Expected("input_ids").narrow(0, 0, 1);
        int[] ids = [.. prompt.contiguous().data<long>().Select(id => (int)id)];
        var options = new GenerationOptions { MaxNewTokens = expected.Length - ids.Length, Gates = gates };
        foreach (bool keeps in new[] { true, false })
        {
            Assert.Equal(
                expected, ids.Concat(TextGenerator.Generate(model, ids, options with { UseKeyValueCache = keeps })).Select(id => (long)id));
        }
    }

    private static long WeightsIn(string folder)
    {
        using var checkpoint = CheckpointFolder.Open(folder);
        return checkpoint.TensorNames.Where(
            name => !name.StartsWith("displlm.", StringComparison.Ordinal)).Sum(name => checkpoint.Info(name).Elements);
    }

    private static void Write(string path, Dictionary<string, Tensor> tensors)
    {
        using var writer = SafetensorsWriter.Create(
            path, tensors.Select(entry => new TensorInfo(entry.Key, entry.Value.dtype, entry.Value.shape)));
        foreach (var (name, tensor) in tensors)
        {
            writer.Write(name, tensor);
        }

        writer.Complete();
    }
}
