using TorchSharp;

namespace DispLlm;

/// <summary>Keeps features at random: what every other strategy has to beat. Immutable, so it can be used from many threads.</summary>
public sealed record RandomSelection : ScoreStrategy
{
    /// <inheritdoc/>
    public override string Name => "random";

    /// <inheritdoc/>
    protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        cancellationToken.ThrowIfCancellationRequested();
        using var stream = request.Model.Backend.Random(request.Seed).Stream("random selection");
        using var uniform = stream.Uniform(request.Model.GateLayout.Count);
        return new ScoreResult(new SelectionScores(request.Model.GateLayout, uniform.data<float>().ToArray()));
    }
}
