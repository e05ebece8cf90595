using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps what carries the most signal. Where a gate closes an input, the score is the root mean square of that feature times the norm of
/// the weights that read it; where it closes an output, the root mean square of what is written. Scores are divided by the mean over the
/// site, so that sites compare. No training, no gradient. Immutable, so it can be used from many threads.
/// </summary>
public sealed record ActivationMagnitudeSelection : CalibrationStrategy
{
    /// <inheritdoc/>
    public override string Name => "activation-magnitude";

    /// <inheritdoc/>
    protected override ScoreResult ComputeScores(SelectionRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var model = request.Model;
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor squares = Sum(request, (tokens, _) => model.MeanSquareActivations(tokens), cancellationToken);
        float[] values = new float[model.GateLayout.Count];
        foreach (var site in model.GateLayout.Sites)
        {
            using var step = NewDisposeScope();
            Tensor signal = squares.narrow(0, site.Offset, site.Size).sqrt();
            signal = ReaderNorms(model, site) is { } norms ? signal * norms.to(signal.device) : signal;
            (signal / signal.mean().ClampMin(float.Epsilon)).cpu().data<float>().ToArray().CopyTo(values, site.Offset);
        }

        return new ScoreResult(new SelectionScores(model.GateLayout, values));
    }

    /// <summary>
    /// The norm of the weights that read each feature of a site, or each group's features, over all readers; null for a site that is only
    /// written.
    /// </summary>
    private static Tensor? ReaderNorms(IPrunableModel model, GateRange site)
    {
        Tensor? squares = null;
        foreach (var part in ParameterCatalog.BlockParameters(model.Spec, site.Block).Where(part =>
            !part.IsBias && PrunedAxes.For(part.Role, model.Spec.QueryKeyNorm).InputSite == site.Site))
        {
            Tensor reader = model.Weight(part.Role, site.Block).to(ScalarType.Float32).PowScalar(2).sum([0L])
                .view(site.Size, -1).sum([1L]);
            squares = squares is null ? reader : squares.Add(reader);
        }

        return squares?.sqrt();
    }
}
