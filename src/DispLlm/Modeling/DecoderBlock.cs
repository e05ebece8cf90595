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
    private readonly NormLayer _attentionNorm = weights.Norm(spec, WeightRole.AttentionNorm, index);
    private readonly NormLayer _mlpNorm = weights.Norm(
        spec, spec.Residual == ResidualLayout.ParallelSharedNorm ? WeightRole.AttentionNorm : WeightRole.MlpNorm, index);

    private readonly QueryKeyValueProjection _queryKeyValue = QueryKeyValueProjection.Create(spec, weights, index);
    private readonly NormLayer? _queryNorm = spec.QueryKeyNorm ? weights.Norm(spec, WeightRole.QueryNorm, index) : null;
    private readonly NormLayer? _keyNorm = spec.QueryKeyNorm ? weights.Norm(spec, WeightRole.KeyNorm, index) : null;
    private readonly Projection _output = weights.Projection(WeightRole.AttentionOutput, index);
    private readonly Projection[] _mlpInputs = spec.GatedMlp
        ? [weights.Projection(WeightRole.MlpGate, index), weights.Projection(WeightRole.MlpUp, index)]
        : [weights.Projection(WeightRole.MlpUp, index)];

    private readonly Projection _down = weights.Projection(WeightRole.MlpDown, index);

    private bool IsPreNorm => spec.NormPlacement == NormPlacement.PreNorm;

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
        policy.SelectInput(SelectionSite.AttentionInput, hidden, IsPreNorm ? _attentionNorm : null);

    /// <summary>The attention of all heads, <c>[batch, seq, heads x head_dim]</c>: the input of the output projection.</summary>
    public Tensor Attend(Tensor input, SitePolicy policy, ForwardContext context)
    {
        var projected = policy.ProjectInputs(SelectionSite.AttentionInput, input, _queryKeyValue.Projections);
        if (_queryNorm is null && _keyNorm is null && context.Attention.TryDecode(index, projected, spec.HeadDim, rotary) is { } decoded)
        {
            return decoded;
        }

        var (query, key, value) = _queryKeyValue.Split(projected);
        query = _queryNorm?.Apply(query) ?? query;
        key = _keyNorm?.Apply(key) ?? key;

        if (rotary is not null)
        {
            var (cosine, sine) = context.Positions.RotaryCosSin(rotary, input.device, input.dtype);
            query = RotaryEmbedding.Apply(query, cosine, sine);
            key = RotaryEmbedding.Apply(key, cosine, sine);
        }

        return context.Attention.Forward(index, query, key, value).transpose(1, 2).flatten(2);
    }

    /// <summary>The residual stream after attention.</summary>
    public Tensor AddAttentionOutput(Tensor hidden, Tensor heads, SitePolicy policy)
    {
        Tensor sum = policy.AddOutput(SelectionSite.AttentionOutput, hidden, heads, _output);
        return IsPreNorm ? sum : _attentionNorm.Apply(sum);
    }

    /// <summary>The input of the MLP: from the residual stream after attention, or before it where both sublayers are parallel.</summary>
    public Tensor MlpInput(Tensor hidden, Tensor attended, SitePolicy policy) =>
        policy.SelectInput(
            SelectionSite.MlpInput, spec.Residual == ResidualLayout.Sequential ? attended : hidden, IsPreNorm ? _mlpNorm : null);

    /// <summary>The hidden features of the MLP, <c>[batch, seq, d_ff]</c>: the input of the down projection.</summary>
    public Tensor MlpHidden(Tensor input, SitePolicy policy)
    {
        var projected = policy.ProjectInputs(SelectionSite.MlpInput, input, _mlpInputs);
        return projected is [var gate, var up] ? Activate(spec.Activation, gate, up) : Activate(spec.Activation, projected[0]);
    }

    /// <summary>The residual stream after the MLP: the output of the block.</summary>
    public Tensor AddMlpOutput(Tensor attended, Tensor features, SitePolicy policy)
    {
        Tensor sum = policy.AddOutput(SelectionSite.MlpOutput, attended, features, _down);
        return IsPreNorm ? sum : _mlpNorm.Apply(sum);
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
