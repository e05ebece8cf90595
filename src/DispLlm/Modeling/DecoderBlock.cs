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
    private readonly Projection[] _mlpReaders = spec.GatedMlp
        ? [weights.Projection(WeightRole.MlpGate, index), weights.Projection(WeightRole.MlpUp, index)]
        : [weights.Projection(WeightRole.MlpUp, index)];

    private readonly Projection _down = weights.Projection(WeightRole.MlpDown, index);

    /// <summary>The stream <c>[batch, seq, d]</c> behind the block. The caller disposes it.</summary>
    public Tensor Forward(Tensor stream, BlockPassage passage, SequenceWindow window)
    {
        using var scope = NewDisposeScope();
        bool normsBefore = spec.NormPlacement == NormPlacement.Before;
        Tensor Behind(Tensor sum, NormLayer norm) => normsBefore ? sum : norm.Apply(sum);

        Tensor entered = passage.Enter(SelectionSite.AttentionInput, stream, normsBefore ? _attentionNorm : null);
        Tensor attended = Behind(passage.Leave(SelectionSite.AttentionOutput, stream, Attention(entered, passage, window)), _attentionNorm);
        Tensor read = spec.Residual == ResidualLayout.Serial ? attended : stream;
        Tensor computed = Mlp(passage.Enter(SelectionSite.MlpInput, read, normsBefore ? _mlpNorm : null), passage);
        return Behind(passage.Leave(SelectionSite.MlpOutput, attended, computed), _mlpNorm).MoveToOuterDisposeScope();
    }

    private Tensor Attention(Tensor x, BlockPassage passage, SequenceWindow window)
    {
        var (query, key, value) = _queryKeyValue.Split(passage.Read(SelectionSite.AttentionInput, x, _queryKeyValue.Readers));
        query = _queryNorm?.Apply(query) ?? query;
        key = _keyNorm?.Apply(key) ?? key;

        if (rotary is not null)
        {
            var (cosine, sine) = window.Turns(rotary, x.device, x.dtype);
            query = RotaryTable.Rotate(query, cosine, sine);
            key = RotaryTable.Rotate(key, cosine, sine);
        }

        Tensor mixed = window.Attend(index, query, key, value);
        return passage.Write(SelectionSite.AttentionOutput, mixed.transpose(1, 2).flatten(2), _output);
    }

    private Tensor Mlp(Tensor x, BlockPassage passage)
    {
        var read = passage.Read(SelectionSite.MlpInput, x, _mlpReaders);
        Tensor hidden = read is [var gate, var up] ? Activate(spec.Activation, gate, up) : Activate(spec.Activation, read[0]);
        return passage.Write(SelectionSite.MlpOutput, hidden, _down);
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
