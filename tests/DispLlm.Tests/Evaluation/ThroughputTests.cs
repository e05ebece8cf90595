namespace DispLlm.Tests.Evaluation;

public sealed class ThroughputTests
{
    [Fact]
    public void Weight_memory_is_exact()
    {
        using var folder = new TemporaryFolder();
        using var dense = PrunableModel.Load(SampleModel.Folder);
        var plan = new RandomSelection().Select(new SelectionRequest { Model = dense, Budget = PruningBudget.FromRatio(0.5) }).Plan;
        new PrunedModelBuilder(SampleModel.Folder, plan).Build(folder.Below("pruned"));
        using var pruned = PrunableModel.Load(folder.Below("pruned"));

        var options = new ThroughputOptions { SequenceLength = 16, Rounds = 1 };
        var memory = Throughput.MeasureMemory([dense, pruned], options, TestContext.Current.CancellationToken);
        var counter = new ParameterCounter(dense.Spec);
        Assert.Equal([4 * counter.Dense.WholeModel, 4 * counter.Count(plan).WholeModel], memory.Select(use => use.WeightBytes));
    }

    [Fact]
    public void Speeds_are_in_the_order_of_the_models()
    {
        // 4.2 million parameters and some thousands: the order does not depend on the machine.
        using var large = PrunableModel.Load(SampleModel.Folder);
        using var tiny = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var options = new ThroughputOptions { SequenceLength = 32, BatchSize = 8, PromptLength = 8, NewTokens = 4, Rounds = 3 };
        var prefill = Throughput.MeasurePrefill([large, tiny], options, TestContext.Current.CancellationToken);
        var decode = Throughput.MeasureDecode([tiny, large], options, TestContext.Current.CancellationToken);
        Assert.True(prefill[1] > prefill[0], $"prefill: {prefill[0]:F0} and {prefill[1]:F0} tokens/s");
        Assert.True(decode[0] > decode[1], $"decode: {decode[1]:F0} and {decode[0]:F0} tokens/s");
    }

    [Fact]
    public void Options_out_of_range_are_refused_and_cancellation_is_honoured()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var defaults = new ThroughputOptions();
        Assert.All(
            new[] { defaults with { SequenceLength = 0 }, defaults with { BatchSize = 0 }, defaults with { PromptLength = 0 },
                defaults with { NewTokens = 0 }, defaults with { Rounds = 0 } },
            options => Assert.Throws<ArgumentOutOfRangeException>(() => Throughput.MeasureDecode([model], options)));
        Assert.Throws<OperationCanceledException>(() => Throughput.MeasurePrefill([model], defaults, new CancellationToken(true)));
    }
}
