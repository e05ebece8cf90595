using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps what carries the most signal: where a gate closes an input, the root mean square of that feature times the norm of the weights that read
/// it; where it closes an output, the root mean square of what is written. Divided by the mean over the site, so that sites compare. No training,
/// no gradient.
/// </summary>
public sealed record ActivationMagnitudeSelection : ISelectionStrategy
{
    /// <inheritdoc/>
    public string Name => "activation-magnitude";

    /// <inheritdoc/>
    public bool NeedsCalibration => true;

    /// <summary>Windows measured. Default 16; at least 1.</summary>
    public int Sequences { get; init; } = 16;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? SequenceLength { get; init; }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfLessThan(Sequences, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequenceLength ?? 2, 2, nameof(SequenceLength));
        request.EnsureReachable(Name);
        var model = request.Model;
        var windows = CalibrationSampler.Create(request, Name, SequenceLength, cancellationToken);
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor squares = zeros(model.GateLayout.Count, device: model.Backend.Device);
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < Sequences; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var window = NewDisposeScope();
            squares.AddInPlace(model.MeanSquareActivations(windows.Batch(i)));
            request.Measuring?.Report(new MeasuringProgress(i + 1, Sequences, clock.Elapsed));
        }

        float[] values = new float[model.GateLayout.Count];
        foreach (var site in model.GateLayout.Sites)
        {
            using var step = NewDisposeScope();
            Tensor signal = squares.narrow(0, site.Offset, site.Size).sqrt();
            foreach (var norms in ReaderNorms(model, site))
            {
                signal = signal * norms.to(signal.device);
            }

            (signal / signal.mean().ClampMin(float.Epsilon)).cpu().data<float>().ToArray().CopyTo(values, site.Offset);
        }

        var scores = new SelectionScores(model.GateLayout, values);
        return new SelectionOutcome(request.Project(Name, scores), scores, []);
    }

    /// <summary>The norm of the weights that read each feature of a site, over all of its readers; nothing for a site that is only written.</summary>
    private static IEnumerable<Tensor> ReaderNorms(IPrunableModel model, GateRange site)
    {
        Tensor? squares = null;
        foreach (var part in ParameterCatalog.BlockParameters(model.Spec, site.Block).Where(part => !part.IsBias && PrunedAxes.For(part.Role).InputSite == site.Site))
        {
            Tensor reader = model.Weight(part.Role, site.Block).to(ScalarType.Float32).PowScalar(2).sum(0);
            squares = squares is null ? reader : squares.Add(reader);
        }

        return squares is null ? [] : [squares.sqrt()];
    }
}
