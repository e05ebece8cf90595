namespace DispLlm.Tests.Evaluation;

public sealed class ThroughputTests
{
    [Fact]
    public void Memory_is_that_of_the_weights_and_of_a_pass()
    {
        using var folder = new TemporaryFolder();
        using var dense = PrunableModel.Load(SampleModel.Folder);
        var plan = new RandomSelection().Select(new SelectionRequest { Model = dense, Budget = PruningBudget.FromRatio(0.5) }).Plan;
        new PrunedModelBuilder(SampleModel.Folder, plan).Build(folder.Below("pruned"));
        using var pruned = PrunableModel.Load(folder.Below("pruned"));

        const int Length = 256;
        var memory = Throughput.Memory([dense, pruned], Length, rounds: 1, TestContext.Current.CancellationToken);
        var counter = new ParameterCounter(dense.Spec);
        Assert.Equal([4 * counter.Dense.WholeModel, 4 * counter.Count(plan).WholeModel], memory.Select(use => use.Weights));

        // The logits alone take that much, wherever it can be told at all.
        Assert.All(memory, use => Assert.True(use.Pass is null || use.Pass >= 4L * Length * dense.Spec.VocabularySize / 2, $"{use}"));
    }
}
