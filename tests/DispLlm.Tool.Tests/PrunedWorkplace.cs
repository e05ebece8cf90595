namespace DispLlm.Tool.Tests;

/// <summary>A workplace in which the model was pruned once, by one option and no data: most verbs need such a folder.</summary>
public sealed class PrunedWorkplace : Workplace, IAsyncLifetime
{
    public Outcome Pruned { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Pruned = (await RunAsync("prune", "./model", "--ratio", "0.3", "--strategy", "magnitude", "--json")).With(0);

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }
}
