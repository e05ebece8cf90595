using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>Closed-form reconstruction of the kept weights.</summary>
public sealed class WeightReconstructionTests
{
    private static readonly ReconstructionOptions s_options = new() { Sequences = 24, HeldOutSequences = 6, SequenceLength = 64 };

    [Fact]
    public void What_kept_inputs_can_say_exactly_is_given_back_exactly()
    {
        // Hidden feature 5 of block 1 says the same as feature 6: dropping it loses nothing, once 6 speaks for both.
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        CopyWithTwins(folder.Below("twins"));
        using var model = PrunableModel.Load(folder.Below("twins"));
        var dense = SelectionPlan.Dense(model.Spec);
        var plan = new SelectionPlan(dense.Model,
            [.. dense.Blocks.Select((block, i) =>
            i == 1 ? block with { MlpHidden = [.. block.MlpHidden.Where(index => index != 5)] } : block)])
        {
            Family = model.Family.Name,
        };

        // Text of the model's own: what changes the model makes it less likely.
        int[][] starts = [.. Enumerable.Range(3, 32).Select(id => new[] { id })];
        int[] text = [.. TextGenerator.Generate(model, starts,
            new GenerationOptions { MaxNewTokens = 63, Temperature = 1, Seed = 1 }).SelectMany(ids => ids)];
        using var reconstruction = WeightReconstruction.Fit(model, plan, TokenCorpus.FromTokens(text), s_options with { Ridges = [1e-9] });
        new PrunedModelBuilder(model.Folder, plan).Build(folder.Below("plain"));
        new PrunedModelBuilder(model.Folder, null, plan, reconstruction).Build(folder.Below("corrected"));

        Tensor tokens = arange(40, ScalarType.Int64).unsqueeze(0);
        double Difference(string name)
        {
            using var pruned = PrunableModel.Load(folder.Below(name));
            Tensor expected = model.Logits(tokens);
            return ((pruned.Logits(tokens) - expected).abs().max() / expected.abs().max()).ToDouble();
        }

        Assert.NotNull(reconstruction.Blocks[1].Ridge);
        Assert.InRange(Difference("corrected"), 0, 1e-4);
        Assert.True(Difference("plain") > 1e-3);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task It_helps_a_selection_without_learning_and_never_raises_the_held_out_loss(bool save)
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = SampleModel.Tokens(model);
        var result = await PruningPipeline.For(model).WithPruningRatio(0.5).WithCalibration(TokenCorpus.FromTokens(tokens))
            .WithStrategy(new FisherSelection
            {
                Rounds = 1,
                SequencesPerRound = 8,
                SequenceLength = 64
            }).RunAsync(TestContext.Current.CancellationToken);
        var seen = new List<PruningProgress>();
        using var reconstruction = await WeightReconstruction.FitAsync(
            model, result.Plan, TokenCorpus.FromTokens(tokens), s_options, new Callback<PruningProgress>(seen.Add),
                TestContext.Current.CancellationToken);
        Assert.Equal(Enumerable.Range(0, model.Spec.NumLayers), reconstruction.Blocks.Select(block => block.Block));
        Assert.Equal(reconstruction.Blocks.Select(block => (PruningPhase.Reconstructing, block.Block + 1, block.LossAfter)),
            seen.Select(step => (step.Phase, step.Step, step.CrossEntropy)));
        Assert.All(reconstruction.Blocks, block =>
            Assert.True(block.LossAfter <= block.LossBefore && (block.Ridge is null) == (block.LossAfter == block.LossBefore)));
        Assert.True(reconstruction.Blocks[^1].LossAfter < reconstruction.Blocks[0].LossBefore - 0.05,
            $"{reconstruction.Blocks[0]} {reconstruction.Blocks[^1]}");
        if (save)
        {
            // The reported loss is that of the saved checkpoint.
            await result.SaveAsync(folder.Below("pruned"), reconstruction, cancellationToken: TestContext.Current.CancellationToken);
            using var pruned = PrunableModel.Load(folder.Below("pruned"));
            var windows = new SequenceSampler(tokens, 64, 1, model.Backend.Random(0));
            using var scope = NewDisposeScope();
            double loss = Enumerable.Range(24, 6).Average(i => CausalLmLoss.Compute(pruned, windows.Batch(i)).ToDouble());
            Assert.Equal(reconstruction.Blocks[^1].LossAfter, loss, 1e-3);
        }
    }

    [Theory]
    [InlineData("llama-gqa-biases-tied")]
    [InlineData("opt-pre-norm")]
    [InlineData("phi-2-style")]
    public void Where_nothing_is_lost_the_corrected_weights_are_the_dense_ones(string fixture)
    {
        // Hidden feature 5 of block 0 is not read: removing it loses nothing, and both networks compute the same.
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        Copy(fixture, folder.Below("dense"), (name, tensor) =>
        {
            if (name.Contains("layers.0.", StringComparison.Ordinal)
                && (name.EndsWith("down_proj.weight", StringComparison.Ordinal) || name.EndsWith("fc2.weight", StringComparison.Ordinal)))
            {
                tensor.narrow(1, 5, 1).zero_();
            }
        });
        using var model = PrunableModel.Load(folder.Below("dense"));
        var dense = SelectionPlan.Dense(model.Spec);
        var plan = new SelectionPlan(dense.Model,
            [.. dense.Blocks.Select((block, i) =>
            i == 0 ? block with { MlpHidden = [.. block.MlpHidden.Where(index => index != 5)] } : block)])
        {
            Family = model.Family.Name,
        };
        var text = TokenCorpus.FromTokens([.. Enumerable.Range(0, 4000).Select(i => 3 + i * i % 61)]);
        foreach (var target in Enum.GetValues<ReconstructionTarget>())
        {
            using var reconstruction = WeightReconstruction.Fit(
                model, plan, text, new ReconstructionOptions { Sequences = 8, HeldOutSequences = 0, SequenceLength = 32, Target = target },
                    cancellationToken: TestContext.Current.CancellationToken);
            Assert.All(reconstruction.Blocks, block => Assert.Equal(0.01, block.Ridge));
            new PrunedModelBuilder(model.Folder, model.Family, plan, reconstruction).Build(folder.Below($"{target}"));
            using var pruned = PrunableModel.Load(folder.Below($"{target}"));
            Tensor tokens = arange(40, ScalarType.Int64).unsqueeze(0) + 3;
            Tensor expected = model.Logits(tokens);
            Assert.InRange(((pruned.Logits(tokens) - expected).abs().max() / expected.abs().max()).ToDouble(), 0, 1e-4);
        }
    }

    [Fact]
    public async Task It_includes_the_scales_of_a_learned_selection()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = SampleModel.Tokens(model);
        var result = await PruningPipeline.For(model).WithPruningRatio(0.5).WithCalibration(TokenCorpus.FromTokens(tokens))
            .WithStrategy(new HypernetworkSelection(new HypernetworkOptions
            {
                Steps = 12,
                SequenceLength = 64,
                ScaleLearningRate = 0.05
            })).RunAsync(TestContext.Current.CancellationToken);
        Assert.NotNull(result.Plan.Scales);
        using var reconstruction = WeightReconstruction.Fit(model, result.Plan, TokenCorpus.FromTokens(tokens), s_options,
            cancellationToken: TestContext.Current.CancellationToken);
        var windows = new SequenceSampler(tokens, 64, 1, model.Backend.Random(0));
        double Loss(PrunableModel evaluated, Gates? gates)
        {
            using var scope = NewDisposeScope();
            return Enumerable.Range(24, 6).Average(i => CausalLmLoss.Compute(evaluated, windows.Batch(i), gates).ToDouble());
        }

        using var gates = Gates.FromPlan(result.Plan, model.Backend);
        Assert.Equal(Loss(model, gates), reconstruction.Blocks[0].LossBefore, 1e-3);
        Assert.Contains(reconstruction.Blocks, block => block.Ridge is not null);
        await result.SaveAsync(folder.Below("pruned"), reconstruction, cancellationToken: TestContext.Current.CancellationToken);
        using var pruned = PrunableModel.Load(folder.Below("pruned"));
        Assert.Equal(reconstruction.Blocks[^1].LossAfter, Loss(pruned, null), 1e-3);
    }

    [Fact]
    public void What_leads_the_stream_back_to_the_dense_one_helps_most()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var text = TokenCorpus.FromTokens(SampleModel.Tokens(model));
        var plan = new FisherSelection { SequencesPerRound = 4, SequenceLength = 64, ScaleStep = 0 }
            .Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.5), Calibration = text },
                TestContext.Current.CancellationToken).Plan;
        double Loss(ReconstructionTarget target)
        {
            using var reconstruction = WeightReconstruction.Fit(model, plan, text, s_options with { Target = target },
                cancellationToken: TestContext.Current.CancellationToken);
            return reconstruction.Blocks[^1].LossAfter;
        }

        Assert.True(Loss(ReconstructionTarget.DenseResidualStream) < Loss(ReconstructionTarget.PrunedActivations));
    }

    [Fact]
    public void It_is_reproducible_leaves_the_model_alone_and_no_tensor_undisposed()
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(SampleModel.Folder);
        var text = TokenCorpus.FromTokens(SampleModel.Tokens(model));
        var plan = new FisherSelection { Rounds = 1, SequencesPerRound = 4, SequenceLength = 64 }
            .Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.3), Calibration = text }).Plan;
        using Tensor before = model.Weight(WeightRole.MlpDown, 0).clone();
        WeightReconstruction.Fit(model, plan, text, s_options).Dispose();
        long tensors = LiveTensors.Before();
        foreach (string name in new[] { "a", "b" })
        {
            using var reconstruction = WeightReconstruction.Fit(model, plan, text, s_options);
            new PrunedModelBuilder(model.Folder, null, plan, reconstruction).Build(folder.Below(name));
        }

        Assert.Equal(tensors, Tensor.TotalCount);
        Assert.True(before.equal(model.Weight(WeightRole.MlpDown, 0)).all().ToBoolean());
        Assert.Equal(File.ReadAllBytes(Path.Combine(folder.Below("a"), "model.safetensors")),
            File.ReadAllBytes(Path.Combine(folder.Below("b"), "model.safetensors")));
    }

    [Fact]
    public void By_default_it_is_fitted_on_all_that_a_short_text_has()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        int[] tokens = SampleModel.Tokens(model)[..1024];
        var plan = new MagnitudeSelection().Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.3) }).Plan;
        using var all =
            WeightReconstruction.Fit(model, plan, TokenCorpus.FromTokens(tokens), new ReconstructionOptions { SequenceLength = 64 });
        using var told = WeightReconstruction.Fit(model, plan, TokenCorpus.FromTokens(tokens),
            new ReconstructionOptions { SequenceLength = 64, Sequences = ((1024 - 64 + 1) / 64) - 8 });
        Assert.Equal(told.Blocks, all.Blocks);
        Assert.Contains(all.Blocks, block => block.Ridge is not null);
    }

    [Fact]
    public void What_cannot_be_reconstructed_is_refused()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var plan = SelectionPlan.Dense(model.Spec) with { NormOrder = NormOrder.SelectThenNorm };
        var text = TokenCorpus.FromTokens([.. Enumerable.Range(0, 300).Select(i => 3 + i % 50)]);
        Assert.Throws<SelectionException>(() => WeightReconstruction.Fit(model, plan, text, s_options));
        plan = SelectionPlan.Dense(model.Spec);
        Assert.Contains("sequences", Assert.Throws<CorpusException>(() => WeightReconstruction.Fit(model, plan, text, s_options)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => WeightReconstruction.Fit(model, plan, text, s_options with { Ridges = [0] }));
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            WeightReconstruction.Fit(model, plan, text, s_options with { HeldOutSequences = -1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            WeightReconstruction.Fit(model, plan, text, s_options with { Target = (ReconstructionTarget)7 }));
        using var reconstruction = WeightReconstruction.Fit(model, plan, text,
            new ReconstructionOptions { Sequences = 2, HeldOutSequences = 1, SequenceLength = 32 });
        Assert.All(reconstruction.Blocks, block => Assert.Null(block.Ridge));
        var other = TestPlans.FromGates(model, ones(model.GateLayout.Count), NormOrder.NormThenSelect) with { Family = "another" };
        Assert.Throws<ArgumentException>(() => new PrunedModelBuilder(model.Folder, null, other, reconstruction));
    }

    private static void CopyWithTwins(string folder) => Copy("llama-mha", folder, (name, tensor) =>
    {
        if (name.StartsWith("model.layers.1.mlp", StringComparison.Ordinal) && !name.Contains("down", StringComparison.Ordinal))
        {
            tensor[5] = tensor[6];
        }
        else if (name == "model.layers.1.mlp.down_proj.weight")
        {
            // With a large weight.
            tensor.narrow(1, 5, 1).mul_(20);
        }
    });

    /// <summary>Copies a fixture, with its tensors changed.</summary>
    private static void Copy(string fixture, string folder, Action<string, Tensor> change)
    {
        Directory.CreateDirectory(folder);
        string source = Fixture.GetFolder(fixture);
        File.Copy(Path.Combine(source, "config.json"), Path.Combine(folder, "config.json"));
        using var file = SafetensorsFile.Open(Path.Combine(source, "model.safetensors"));
        using var writer = SafetensorsWriter.Create(Path.Combine(folder, "model.safetensors"), file.Tensors);
        using var scope = NewDisposeScope();
        foreach (var info in file.Tensors)
        {
            Tensor tensor = file.Read(info.Name).clone();
            change(info.Name, tensor);
            writer.Write(info.Name, tensor);
        }

        writer.Complete();
    }
}
