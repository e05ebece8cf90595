using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps the features with the largest weights. The score of a gate is the Euclidean norm of the weights that closing it removes, divided
/// by the mean over its site, so that sites of different scale compare. Needs no text and no training. Immutable, so it can be used from
/// many threads.
/// </summary>
public sealed record MagnitudeSelection : ScoreStrategy
{
    /// <inheritdoc/>
    public override string Name => "magnitude";

    /// <inheritdoc/>
    protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var model = request.Model;
        float[] values = new float[model.GateLayout.Count];
        foreach (var site in model.GateLayout.Sites)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var noGradient = no_grad();
            Tensor norms = SquaredNorms(model, site).sqrt();
            Tensor relative = (norms / norms.mean().ClampMin(float.Epsilon)).cpu();
            relative.data<float>().ToArray().CopyTo(values, site.Offset);
        }

        return new ScoreResult(new SelectionScores(model.GateLayout, values));
    }

    private static Tensor SquaredNorms(IPrunableModel model, GateRange site)
    {
        Tensor? sum = null;
        foreach (var part in ParameterCatalog.BlockParameters(model.Spec, site.Block).Where(part => part.Shape.Count == 2))
        {
            var axes = PrunedAxes.For(part.Role, model.Spec.QueryKeyNorm);
            if (axes.OutputSite == site.Site || axes.InputSite == site.Site)
            {
                long acrossDimension = axes.OutputSite == site.Site ? 1 : 0;
                Tensor squares = model.Weight(part.Role, site.Block).to(ScalarType.Float32).PowScalar(2).sum([acrossDimension])
                    .view(site.Size, -1).sum([1L]);
                sum = sum is null ? squares : sum.Add(squares);
            }
        }

        return sum ?? throw new InvalidOperationException($"No weight is pruned by {site}.");
    }
}
