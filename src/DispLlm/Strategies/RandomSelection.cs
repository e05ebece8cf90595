using TorchSharp;

namespace DispLlm;

/// <summary>Keeps features at random: the floor that every other strategy has to beat.</summary>
public sealed record RandomSelection : ISelectionStrategy
{
    /// <inheritdoc/>
    public string Name => "random";

    /// <inheritdoc/>
    public bool NeedsCalibration => false;

    /// <inheritdoc/>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        request.EnsureReachable(Name);
        cancellationToken.ThrowIfCancellationRequested();
        using var stream = request.Model.Backend.Random(request.Seed).Stream("random selection");
        using var uniform = stream.Uniform(request.Model.GateLayout.Count);
        var scores = new SelectionScores(request.Model.GateLayout, uniform.data<float>().ToArray());
        return new SelectionOutcome(request.Project(Name, scores), scores, []);
    }
}
