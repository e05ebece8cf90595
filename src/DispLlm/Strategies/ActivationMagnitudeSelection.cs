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
    public int Windows { get; init; } = 16;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    public SelectionOutcome Select(SelectionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfLessThan(Windows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(WindowLength ?? 2, 2, nameof(WindowLength));
        request.EnsureReachable(Name);
        var model = request.Model;
        var windows = CalibrationWindows.Of(request, Name, WindowLength, cancellationToken);
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor squares = zeros(model.GateLayout.Count, device: model.Backend.Device);
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < Windows; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var window = NewDisposeScope();
            squares.PlusInPlace(model.GateActivity(windows.Batch(i)));
            request.Measuring?.Report(new MeasuringProgress(i + 1, Windows, clock.Elapsed));
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

            (signal / signal.mean().AtLeast(float.Epsilon)).cpu().data<float>().ToArray().CopyTo(values, site.Offset);
        }

        var scores = new SelectionScores(model.GateLayout, values);
        return new SelectionOutcome(request.Project(Name, scores), scores, []);
    }

    /// <summary>The norm of the weights that read each feature of a site, over all of its readers; nothing for a site that is only written.</summary>
    private static IEnumerable<Tensor> ReaderNorms(IPrunableModel model, GateRange site)
    {
        Tensor? squares = null;
        foreach (var part in WeightCatalog.OfBlock(model.Spec, site.Block).Where(part => !part.IsBias && WeightCuts.Of(part.Role).Columns == site.Site))
        {
            Tensor reader = model.Weight(part.Role, site.Block).to(ScalarType.Float32).Power(2).sum(0);
            squares = squares is null ? reader : squares.Plus(reader);
        }

        return squares is null ? [] : [squares.sqrt()];
    }
}
