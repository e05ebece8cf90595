using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Modeling;

/// <summary>
/// One decoder block: attention and MLP over the residual stream. It works on whatever width its passage lets in and its weights have,
/// so that dense, gated and pruned models run the same lines.
/// </summary>
internal sealed class DecoderBlock(DecoderSpec spec, int index, DecoderWeights weights, RotaryTable? rotary)
{
    private readonly NormLayer _attentionNorm = weights.Norm(spec, WeightRole.AttentionNorm, index);
    private readonly NormLayer _mlpNorm = weights.Norm(
        spec, spec.Residual == ResidualLayout.ParallelSharedNorm ? WeightRole.AttentionNorm : WeightRole.MlpNorm, index);

    private readonly QueryKeyValueProjection _queryKeyValue = QueryKeyValueProjection.Create(spec, weights, index);
    private readonly NormLayer? _queryNorm = spec.QueryKeyNorm ? weights.Norm(spec, WeightRole.QueryNorm, index) : null;
    private readonly NormLayer? _keyNorm = spec.QueryKeyNorm ? weights.Norm(spec, WeightRole.KeyNorm, index) : null;
    private readonly Projection _output = weights.Projection(WeightRole.AttentionOutput, index);
    private readonly Projection[] _mlpReaders = spec.GatedMlp
        ? [weights.Projection(WeightRole.MlpGate, index), weights.Projection(WeightRole.MlpUp, index)]
        : [weights.Projection(WeightRole.MlpUp, index)];

    private readonly Projection _down = weights.Projection(WeightRole.MlpDown, index);

    private bool NormsBefore => spec.NormPlacement == NormPlacement.PreNorm;

    /// <summary>The stream <c>[batch, seq, d]</c> behind the block. The caller disposes it.</summary>
    public Tensor Forward(Tensor stream, SitePolicy passage, ForwardContext window)
    {
        using var scope = NewDisposeScope();
        Tensor mixed = Mixed(EnterAttention(stream, passage), passage, window);
        Tensor attended = LeaveAttention(stream, mixed, passage);
        Tensor hidden = Hidden(EnterMlp(stream, attended, passage), passage);
        return LeaveMlp(attended, hidden, passage).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// The same for one position in the CPU's memory, behind a norm of all features; null where it lies elsewhere, or is a block of another kind.
    /// </summary>
    /// <param name="indices">What a pruned block selects; null where it is dense.</param>
    public HostBlock? InHostMemory(BlockIndices? indices)
    {
        if (!NormsBefore || spec.Residual != ResidualLayout.Sequential || spec.Activation != Activation.Silu || _queryNorm is not null || _keyNorm is not null
            || _queryKeyValue.Readers is not [var query, var key, var value] || _mlpReaders is not [var gate, var up]
            || !Projection.LieInHostMemory(query, key, value, _output, gate, up, _down)
            || _attentionNorm.InHostMemory is not { } attentionNorm || _mlpNorm.InHostMemory is not { } mlpNorm)
        {
            return null;
        }

        HostSelection? Selection(Tensor? index) => index is null ? null : new HostSelection(index, spec.HiddenSize, rows: long.MaxValue);

        return new HostBlock
        {
            AttentionNorm = attentionNorm,
            MlpNorm = mlpNorm,
            Query = query.InHostMemory,
            Key = key.InHostMemory,
            Value = value.InHostMemory,
            Output = _output.InHostMemory,
            Gate = gate.InHostMemory,
            Up = up.InHostMemory,
            Down = _down.InHostMemory,
            AttentionInput = Selection(indices?.AttentionInput),
            AttentionOutput = Selection(indices?.AttentionOutput),
            MlpInput = Selection(indices?.MlpInput),
            MlpOutput = Selection(indices?.MlpOutput),
        };
    }

    /// <summary>What the query, key and value projections read of the stream in front of the block.</summary>
    public Tensor EnterAttention(Tensor stream, SitePolicy passage) =>
        passage.Enter(SelectionSite.AttentionInput, stream, NormsBefore ? _attentionNorm : null);

    /// <summary>The values of all heads as attention mixes them, <c>[batch, seq, heads x head size]</c>: what the output projection reads.</summary>
    public Tensor Mixed(Tensor entered, SitePolicy passage, ForwardContext window)
    {
        var read = passage.Read(SelectionSite.AttentionInput, entered, _queryKeyValue.Readers);
        if (_queryNorm is null && _keyNorm is null && window.AttendAsWritten(index, read, spec.HeadDim, rotary) is { } mixed)
        {
            return mixed;
        }

        var (query, key, value) = _queryKeyValue.Split(read);
        query = _queryNorm?.Apply(query) ?? query;
        key = _keyNorm?.Apply(key) ?? key;

        if (rotary is not null)
        {
            var (cosine, sine) = window.RotaryCosSin(rotary, entered.device, entered.dtype);
            query = RotaryTable.Rotate(query, cosine, sine);
            key = RotaryTable.Rotate(key, cosine, sine);
        }

        return window.Attend(index, query, key, value).transpose(1, 2).flatten(2);
    }

    /// <summary>The stream with what attention wrote.</summary>
    public Tensor LeaveAttention(Tensor stream, Tensor mixed, SitePolicy passage)
    {
        Tensor sum = passage.Leave(SelectionSite.AttentionOutput, stream, mixed, _output);
        return NormsBefore ? sum : _attentionNorm.Apply(sum);
    }

    /// <summary>What the MLP's first projections read: of the stream behind attention, or in front of it where both stand side by side.</summary>
    public Tensor EnterMlp(Tensor stream, Tensor attended, SitePolicy passage) =>
        passage.Enter(SelectionSite.MlpInput, spec.Residual == ResidualLayout.Sequential ? attended : stream, NormsBefore ? _mlpNorm : null);

    /// <summary>The MLP's hidden features <c>[batch, seq, d_ff]</c>: what the down projection reads.</summary>
    public Tensor Hidden(Tensor entered, SitePolicy passage)
    {
        var read = passage.Read(SelectionSite.MlpInput, entered, _mlpReaders);
        return read is [var gate, var up] ? Activate(spec.Activation, gate, up) : Activate(spec.Activation, read[0]);
    }

    /// <summary>The stream behind the block.</summary>
    public Tensor LeaveMlp(Tensor attended, Tensor hidden, SitePolicy passage)
    {
        Tensor sum = passage.Leave(SelectionSite.MlpOutput, attended, hidden, _down);
        return NormsBefore ? sum : _mlpNorm.Apply(sum);
    }

    /// <summary>The hidden features of a gated MLP; the gate may be written over.</summary>
    public static Tensor Activate(Activation activation, Tensor gate, Tensor up) => activation != Activation.Silu || RowKernels.For(gate, up) is not { } kernels
        ? Activate(activation, gate) * up
        : gate.requires_grad || up.requires_grad ? SwiGluFunction.Apply(gate, up)
        : kernels.SwiGlu(gate, up, inPlace: true);

    private static Tensor Activate(Activation activation, Tensor x) => activation switch
    {
        Activation.Silu => functional.silu(x),
        Activation.Gelu => DeviceKernels.Gelu(x),
        Activation.GeluTanh => DeviceKernels.GeluTanh(x),
        Activation.Relu => DeviceKernels.Relu(x),
        _ => throw new InvalidOperationException($"Activation {activation} is not computed here."),
    };
}
