namespace DispLlm.Tool.Tests;

/// <summary>A folder with the model and its pruned model in <c>model-pruned-30</c>.</summary>
public sealed class PrunedModelFolder : TestFolder, IAsyncLifetime
{
    public Outcome Pruned { get; private set; } = null!;

    public async ValueTask InitializeAsync() =>
        Pruned = (await RunAsync("prune", "./model", "--ratio", "0.3", "--strategy", "magnitude", "--json")).With(0);

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }
}
