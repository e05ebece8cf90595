using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Modeling;

/// <summary>
/// One decoder block: attention and MLP over the residual stream. Widths are those of its weights and its policy, so that dense, gated and
/// pruned models run the
/// same lines.
/// </summary>
internal sealed class DecoderBlock(DecoderSpec spec, int index, DecoderWeights weights, RotaryEmbedding? rotary)
{
    private readonly NormLayer? _attentionNorm = weights.TryNorm(spec, WeightRole.AttentionNorm, index);
    private readonly NormLayer? _mlpNorm = weights.TryNorm(
        spec, spec.Residual == ResidualLayout.ParallelSharedNorm ? WeightRole.AttentionNorm : WeightRole.MlpNorm, index);

    private readonly Projection[] _queryKeyValue =
    [
        weights.Projection(WeightRole.Query, index), weights.Projection(WeightRole.Key, index), weights.Projection(WeightRole.Value, index),
    ];

    private readonly HeadNorm? _queryNorm = weights.TryHeadNorm(spec, WeightRole.QueryNorm, index);
    private readonly HeadNorm? _keyNorm = weights.TryHeadNorm(spec, WeightRole.KeyNorm, index);

    // Kernels divide scores by the root of the head's size.
    private readonly double _queryScale = (spec.AttentionScale * Math.Sqrt(spec.HeadDim)) ?? 1;

    private readonly BlockAttention _attention = new(
        spec.HeadDim, rotary, spec.GetAttention(index).SlidingWindow, spec.AttentionSoftcap);

    private readonly SublayerOutput _attentionOutput = new(
        weights.Projection(WeightRole.AttentionOutput, index),
        weights.TryNorm(spec, WeightRole.AttentionOutputNorm, index),
        spec.ResidualScale);

    private readonly Projection[] _mlpInputs = spec.GatedMlp
        ? [weights.Projection(WeightRole.MlpGate, index), weights.Projection(WeightRole.MlpUp, index)]
        : [weights.Projection(WeightRole.MlpUp, index)];

    private readonly SublayerOutput _mlpOutput = new(
        weights.Projection(WeightRole.MlpDown, index), weights.TryNorm(spec, WeightRole.MlpOutputNorm, index), spec.ResidualScale);

    private bool IsPostNorm => spec.NormPlacement == NormPlacement.PostNorm;

    /// <summary>The output of the block, <c>[batch, seq, d]</c>. The caller disposes it.</summary>
    public Tensor Forward(Tensor hidden, SitePolicy policy, ForwardContext context)
    {
        using var scope = NewDisposeScope();
        Tensor heads = Attend(AttentionInput(hidden, policy), policy, context);
        Tensor attended = AddAttentionOutput(hidden, heads, policy);
        Tensor features = MlpHidden(MlpInput(hidden, attended, policy), policy);
        return AddMlpOutput(attended, features, policy).MoveToOuterDisposeScope();
    }

    /// <summary>The input of the query, key and value projections.</summary>
    public Tensor AttentionInput(Tensor hidden, SitePolicy policy) =>
        policy.SelectInput(SelectionSite.AttentionInput, hidden, IsPostNorm ? null : _attentionNorm);

    /// <summary>The attention of all heads, <c>[batch, seq, heads x head_dim]</c>: the input of the output projection.</summary>
    public Tensor Attend(Tensor input, SitePolicy policy, ForwardContext context)
    {
        var projected = policy.ProjectInputs(SelectionSite.AttentionInput, input, _queryKeyValue);
        if (projected[1].size(-1) == 0)
        {
            // No group is kept: there is nothing to attend with, and nothing to cache.
            return projected[0];
        }

        Tensor query = _queryNorm is null ? projected[0] : policy.NormHeads(_queryNorm, projected[0]);
        Tensor key = _keyNorm is null ? projected[1] : policy.NormHeads(_keyNorm, projected[1]);
        query = _queryScale == 1 ? query : query.MulScalar(_queryScale);
        if (context.Attention.TryDecode(index, _attention, [query, key, projected[2]]) is { } decoded)
        {
            return decoded;
        }

        Tensor Heads(Tensor x) => x.view(x.size(0), x.size(1), -1, spec.HeadDim).transpose(1, 2);
        (query, key, Tensor value) = (Heads(query), Heads(key), Heads(projected[2]));
        if (rotary is not null)
        {
            var (cosine, sine) = context.Positions.RotaryCosSin(rotary, input.device, input.dtype);
            (query, key) = (RotaryEmbedding.Apply(query, cosine, sine), RotaryEmbedding.Apply(key, cosine, sine));
        }

        return context.Attention.Forward(index, _attention, query, key, value).transpose(1, 2).flatten(2);
    }

    /// <summary>The residual stream after attention.</summary>
    public Tensor AddAttentionOutput(Tensor hidden, Tensor heads, SitePolicy policy)
    {
        Tensor sum = policy.AddOutput(SelectionSite.AttentionOutput, hidden, heads, _attentionOutput);
        return IsPostNorm ? policy.NormSum(_attentionNorm!, sum) : sum;
    }

    /// <summary>The input of the MLP: from the residual stream after attention, or before it where both sublayers are parallel.</summary>
    public Tensor MlpInput(Tensor hidden, Tensor attended, SitePolicy policy) =>
        policy.SelectInput(
            SelectionSite.MlpInput, spec.Residual == ResidualLayout.Sequential ? attended : hidden, IsPostNorm ? null : _mlpNorm);

    /// <summary>The hidden features of the MLP, <c>[batch, seq, d_ff]</c>: the input of the down projection.</summary>
    public Tensor MlpHidden(Tensor input, SitePolicy policy)
    {
        var projected = policy.ProjectInputs(SelectionSite.MlpInput, input, _mlpInputs);
        return projected is [var gate, var up] ? Activate(spec.Activation, gate, up) : Activate(spec.Activation, projected[0]);
    }

    /// <summary>The residual stream after the MLP: the output of the block.</summary>
    public Tensor AddMlpOutput(Tensor attended, Tensor features, SitePolicy policy)
    {
        Tensor sum = policy.AddOutput(SelectionSite.MlpOutput, attended, features, _mlpOutput);
        return IsPostNorm ? policy.NormSum(_mlpNorm!, sum) : sum;
    }

    /// <summary>The hidden features of a gated MLP; the gate may be overwritten.</summary>
    public static Tensor Activate(Activation activation, Tensor gate, Tensor up) =>
        activation != Activation.Silu || RowKernels.For(gate, up) is not { } kernels
        ? Activate(activation, gate) * up
        : gate.requires_grad || up.requires_grad ? SwiGluFunction.Apply(gate, up)
        : kernels.SwiGlu(gate, up, inPlace: true);

    private static Tensor Activate(Activation activation, Tensor x) => activation switch
    {
        Activation.Silu => functional.silu(x),
        Activation.Gelu => DeviceKernels.Gelu(x),
        Activation.GeluTanh => DeviceKernels.GeluTanh(x),
        Activation.Relu => DeviceKernels.Relu(x),
        _ => throw new InvalidOperationException($"Activation {activation} is not supported."),
    };
}
