using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Keeps what the loss changes most with at first order: the score of a gate is <c>log(|mean over windows of d loss / d gate| / parameters that
/// closing it frees)</c>. Needs no training; <see cref="FisherSelection"/>, which sums squares, does not let windows cancel each other.
/// </summary>
public sealed record FirstOrderSelection : ISelectionStrategy
{
    /// <inheritdoc/>
    public string Name => "first-order";

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
        Tensor open = ones(model.GateLayout.Count, device: model.Backend.Device);
        Tensor sum = zeros_like(open);
        var kept = new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model);
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < Sequences; i++)
        {
            using var window = NewDisposeScope();
            using var gradients = GateGradients.Compute(model, open, request.NormOrder, [windows.Batch(i)], kept, cancellationToken: cancellationToken);
            NumericalException.ThrowIfNotFinite(gradients.Gradient, model.GateLayout, i + 1, "a gate gradient of the first-order scores");
            sum.AddInPlace(gradients.Gradient);
            request.Measuring?.Report(new MeasuringProgress(i + 1, Sequences, clock.Elapsed));
        }

        float[] slopes = sum.DivScalarInPlace(Sequences).abs_().cpu().data<float>().ToArray();
        var scores = GateScores.PerParameter(model.GateLayout, slopes, SelectionPlan.Dense(model.Spec), request.Budget.Scope);
        return new SelectionOutcome(request.Project(Name, scores), scores, []);
    }
}
