using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps the features with the largest weights: the score of a gate is the Euclidean norm of the weights that closing it would drop,
/// divided by the mean over its site, so that sites of different scale compare. Needs no text and no training.
/// </summary>
public sealed record MagnitudeSelection : ISelectionStrategy
{
    /// <inheritdoc/>
    public string Name => "magnitude";

    /// <inheritdoc/>
    public bool NeedsCalibration => false;

    /// <inheritdoc/>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        request.EnsureReachable(Name);
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

        var scores = new SelectionScores(model.GateLayout, values);
        return new SelectionOutcome(request.Project(Name, scores), scores, []);
    }

    private static Tensor SquaredNorms(IPrunableModel model, GateRange site)
    {
        Tensor? sum = null;
        foreach (var part in ParameterCatalog.BlockParameters(model.Spec, site.Block).Where(part => !part.IsBias))
        {
            var cuts = PrunedAxes.For(part.Role);
            if (cuts.OutputSite == site.Site || cuts.InputSite == site.Site)
            {
                int acrossDimension = cuts.OutputSite == site.Site ? 1 : 0;
                Tensor squares = model.Weight(part.Role, site.Block).to(ScalarType.Float32).PowScalar(2).sum(acrossDimension);
                sum = sum is null ? squares : sum.Add(squares);
            }
        }

        return sum ?? throw new InvalidOperationException($"No weight is cut by {site}.");
    }
}
