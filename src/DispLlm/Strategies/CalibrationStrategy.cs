using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A strategy that sums a measurement of every gate over calibration sequences, and needs no training. Immutable, so it can be used from
/// many threads.
/// </summary>
public abstract record CalibrationStrategy : ScoreStrategy
{
    private protected CalibrationStrategy()
    {
    }

    /// <inheritdoc/>
    public override bool NeedsCalibration => true;

    /// <summary>Calibration sequences. Default 16; at least 1.</summary>
    public int Sequences { get; init; } = 16;

    /// <summary>Sequence length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? SequenceLength { get; init; }

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Settings => new StrategySettings().With(Sequences).With(SequenceLength);

    /// <inheritdoc/>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range; it is named.</exception>
    protected override void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Sequences, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(SequenceLength ?? 2, 2, nameof(SequenceLength));
    }

    /// <summary>The sum over all calibration sequences: <c>[gates]</c>, float32, in the caller's dispose scope.</summary>
    /// <param name="request">Model and calibration.</param>
    /// <param name="measure">Gives <c>[gates]</c> for the tokens <c>[1, seq]</c> of the sequence of a number, from 1.</param>
    /// <param name="cancellationToken">Looked at between sequences.</param>
    private protected Tensor Sum(SelectionRequest request, Func<Tensor, int, Tensor> measure, CancellationToken cancellationToken)
    {
        int[] tokens = CalibrationSampler.Tokens(request, Name, cancellationToken);
        var sequences = CalibrationSampler.Create(request, tokens, SequenceLength);
        Tensor sum = zeros(request.Model.GateLayout.Count, device: request.Model.Backend.Device);
        var measurement = new Measurement(request, this, tokens, Sequences, ("sum", sum));
        while (measurement.Done < Sequences)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            sum.AddInPlace(measure(sequences.Batch(measurement.Done), measurement.Done + 1));
            measurement.Advance();
        }

        return sum;
    }
}
