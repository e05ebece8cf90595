using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm;

/// <summary>A linear projection: <c>[..., in] -> [..., out]</c>.</summary>
internal readonly record struct Projection(Tensor Weight, Tensor? Bias)
{
    public Tensor Apply(Tensor x) => functional.linear(x, Weight, Bias);
}

/// <summary>
/// One decoder block: attention and MLP over the residual stream. It works on whatever width its passage lets in and its weights have,
/// so that dense, gated and pruned models run the same lines.
/// </summary>
internal sealed class DecoderBlock(DecoderSpec spec, int index, DecoderWeights weights, RotaryTable rotary)
{
    private readonly NormLayer _attentionNorm = new(weights[WeightRole.AttentionNorm, index], spec.NormEpsilon);
    private readonly NormLayer _mlpNorm = new(weights[WeightRole.MlpNorm, index], spec.NormEpsilon);
    private readonly Projection _query = weights.Projection(WeightRole.Query, index);
    private readonly Projection _key = weights.Projection(WeightRole.Key, index);
    private readonly Projection _value = weights.Projection(WeightRole.Value, index);
    private readonly Projection _output = weights.Projection(WeightRole.AttentionOutput, index);
    private readonly Projection? _gate = spec.GatedMlp ? weights.Projection(WeightRole.MlpGate, index) : null;
    private readonly Projection _up = weights.Projection(WeightRole.MlpUp, index);
    private readonly Projection _down = weights.Projection(WeightRole.MlpDown, index);

    /// <summary>The stream <c>[batch, seq, d]</c> behind the block. The caller disposes it.</summary>
    public Tensor Forward(Tensor stream, BlockPassage passage)
    {
        using var scope = NewDisposeScope();
        Tensor attended = passage.LeaveAttention(stream, Attention(passage.EnterAttention(stream, _attentionNorm)));
        Tensor result = passage.LeaveMlp(attended, Mlp(passage.EnterMlp(attended, _mlpNorm), passage));
        return result.MoveToOuterDisposeScope();
    }

    private Tensor Attention(Tensor x)
    {
        long batch = x.shape[0], length = x.shape[1];
        Tensor Heads(Tensor projected, int heads) => projected.view(batch, length, heads, spec.HeadSize).transpose(1, 2);

        // A key-value cache would stand here: earlier keys and values in front of these, positions counted on from them.
        var (cosine, sine) = rotary.Positions(0, length, x.dtype);
        Tensor query = RotaryTable.Rotate(Heads(_query.Apply(x), spec.Heads), cosine, sine);
        Tensor key = RotaryTable.Rotate(Heads(_key.Apply(x), spec.KeyValueHeads), cosine, sine);
        Tensor value = Heads(_value.Apply(x), spec.KeyValueHeads);
        if (spec.KeyValueHeads < spec.Heads)
        {
            key = key.repeat_interleave(spec.Heads / spec.KeyValueHeads, dim: 1);
            value = value.repeat_interleave(spec.Heads / spec.KeyValueHeads, dim: 1);
        }

        Tensor mixed = DeviceKernels.CausalAttention(query, key, value);
        return _output.Apply(mixed.transpose(1, 2).reshape(batch, length, spec.QuerySize));
    }

    private Tensor Mlp(Tensor x, BlockPassage passage)
    {
        Tensor hidden = _gate is { } gate ? Activate(gate.Apply(x)) * _up.Apply(x) : Activate(_up.Apply(x));
        return _down.Apply(passage.PassHidden(hidden));
    }

    private Tensor Activate(Tensor x) => spec.Activation switch
    {
        Activation.Silu => functional.silu(x),
        Activation.Gelu => functional.gelu(x),
        Activation.GeluTanh => GeluTanh(x),
        Activation.Relu => functional.relu(x),
        _ => throw new InvalidOperationException($"Activation {spec.Activation} is not computed here."),
    };

    private static Tensor GeluTanh(Tensor x) => 0.5 * x * (1.0 + (Math.Sqrt(2.0 / Math.PI) * (x + 0.044715 * x.pow(3))).tanh());
}
