using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm;

/// <summary>
/// One decoder block: attention and MLP over the residual stream. It works on whatever width its passage lets in and its weights have,
/// so that dense, gated and pruned models run the same lines.
/// </summary>
internal sealed class DecoderBlock(DecoderSpec spec, int index, DecoderWeights weights, RotaryTable? rotary)
{
    private readonly NormLayer _attentionNorm = weights.Norm(spec, WeightRole.AttentionNorm, index);
    private readonly NormLayer _mlpNorm = weights.Norm(
        spec, spec.Residual == ResidualLayout.ParallelSharedNorm ? WeightRole.AttentionNorm : WeightRole.MlpNorm, index);

    private readonly QueryKeyValueProjection _queryKeyValue = QueryKeyValueProjection.Of(spec, weights, index);
    private readonly NormLayer? _queryNorm = spec.QueryKeyNorm ? weights.Norm(spec, WeightRole.QueryNorm, index) : null;
    private readonly NormLayer? _keyNorm = spec.QueryKeyNorm ? weights.Norm(spec, WeightRole.KeyNorm, index) : null;
    private readonly Projection _output = weights.Projection(WeightRole.AttentionOutput, index);
    private readonly Projection? _gate = spec.GatedMlp ? weights.Projection(WeightRole.MlpGate, index) : null;
    private readonly Projection _up = weights.Projection(WeightRole.MlpUp, index);
    private readonly Projection _down = weights.Projection(WeightRole.MlpDown, index);

    /// <summary>The stream <c>[batch, seq, d]</c> behind the block. The caller disposes it.</summary>
    public Tensor Forward(Tensor stream, BlockPassage passage, SequenceWindow window)
    {
        using var scope = NewDisposeScope();
        bool normsBefore = spec.NormPlacement == NormPlacement.Before;
        Tensor Behind(Tensor sum, NormLayer norm) => normsBefore ? sum : norm.Apply(sum);

        Tensor written = Attention(passage.EnterAttention(stream, normsBefore ? _attentionNorm : null), window);
        Tensor attended = Behind(passage.LeaveAttention(stream, written), _attentionNorm);
        Tensor read = spec.Residual == ResidualLayout.Serial ? attended : stream;
        Tensor computed = Mlp(passage.EnterMlp(read, normsBefore ? _mlpNorm : null), passage);
        return Behind(passage.LeaveMlp(attended, computed), _mlpNorm).MoveToOuterDisposeScope();
    }

    private Tensor Attention(Tensor x, SequenceWindow window)
    {
        var (query, key, value) = _queryKeyValue.Apply(x);
        query = _queryNorm?.Apply(query) ?? query;
        key = _keyNorm?.Apply(key) ?? key;

        if (rotary is not null)
        {
            var (cosine, sine) = window.Turns(rotary, x.device, x.dtype);
            query = RotaryTable.Rotate(query, cosine, sine);
            key = RotaryTable.Rotate(key, cosine, sine);
        }

        Tensor mixed = window.Attend(index, query, key, value);
        return _output.Apply(mixed.transpose(1, 2).flatten(2));
    }

    private Tensor Mlp(Tensor x, BlockPassage passage)
    {
        Tensor hidden = _gate is { } gate && Projection.Apply(x, gate, _up) is [var gated, var up]
            ? Activate(spec.Activation, gated, up)
            : Activate(spec.Activation, _up.Apply(x));
        return _down.Apply(passage.PassHidden(hidden));
    }

    /// <summary>The hidden features of a gated MLP; the gate may be written over.</summary>
    public static Tensor Activate(Activation activation, Tensor gate, Tensor up) => activation == Activation.Silu && HostKernels.Take(gate, up)
        ? HostKernels.GatedSilu(gate, up)
        : Activate(activation, gate) * up;

    private static Tensor Activate(Activation activation, Tensor x) => activation switch
    {
        Activation.Silu => functional.silu(x),
        Activation.Gelu => functional.gelu(x),
        Activation.GeluTanh => GeluTanh(x),
        Activation.Relu => DeviceKernels.Relu(x),
        _ => throw new InvalidOperationException($"Activation {activation} is not computed here."),
    };

    private static Tensor GeluTanh(Tensor x) => 0.5 * x * (1.0 + (Math.Sqrt(2.0 / Math.PI) * (x + 0.044715 * x.pow(3))).tanh());
}
