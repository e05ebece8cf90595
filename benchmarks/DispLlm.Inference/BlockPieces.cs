using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Inference;

/// <summary>What the time of a block is spent on.</summary>
internal enum BlockPiece
{
    /// <summary>Matrix multiplications with weights.</summary>
    MatMul,

    /// <summary>Attention; in a decode step with rotary embedding and cache write.</summary>
    Attention,

    /// <summary>Norms, and selection of their features.</summary>
    Norm,

    /// <summary>Residual sums.</summary>
    Sum,

    /// <summary>Rotary embedding.</summary>
    Rotation,

    /// <summary>The MLP's activation.</summary>
    MlpActivation,
}

/// <summary>
/// The pieces of a forward pass through a model's blocks, with the library's own code and the model's weights, in the order of a forward
/// pass: the processor's caches hold
/// what they hold in use.
/// </summary>
internal sealed class BlockPieces : IDisposable
{
    private readonly PrunableModel _model;
    private readonly Func<TimeSpan> _now;
    private readonly TimeSpan[] _spent = new TimeSpan[Names.Count];
    private readonly RotaryEmbedding _rotary;
    private readonly KeyValueCache _cache;
    private readonly Tensor _stream;
    private readonly BlockIndices?[] _indices;
    private readonly UngatedPolicy[] _policies;

    public BlockPieces(PrunableModel model, Case use, Func<TimeSpan> now)
    {
        _model = model;
        _now = now;
        var spec = model.Spec;
        using var scope = NewDisposeScope();
        using var random = new RandomSource(0).Stream("pieces");
        Tensor Numbers(params long[] shape) => random.Normal(shape).to(model.Backend.ComputeType).to(model.Backend.Device);
        _rotary = new RotaryEmbedding(spec.Rotary!, model.Backend.Device);
        _stream = Numbers(use.Batch, use.Length, spec.HiddenSize).DetachFromDisposeScope();
        _indices = [.. Enumerable.Range(0, spec.NumLayers).Select(
            block => model.Plan is null ? null : BlockIndices.From(model.Plan, block, model.Backend.Device))];
        _policies = [.. _indices.Select(
            indices => indices is null ? (UngatedPolicy)new DensePolicy() : new PrunedPolicy(indices, model.Plan!.NormOrder))];
        _cache = model.CreateKeyValueCache();
        if (use.Before > 0)
        {
            for (int block = 0; block < spec.NumLayers; block++)
            {
                int heads = model.Plan?.Blocks[block].AttentionGroups.Count ?? spec.NumKeyValueHeads;
                if (heads > 0)
                {
                    Tensor before = Numbers(use.Batch, heads, use.Before, spec.HeadDim);
                    _cache.Append(block, before, before);
                }
            }

            _cache.Advance(use.Before);
        }
    }

    /// <summary>Names of pieces, in the order of <see cref="BlockPiece"/>.</summary>
    public static IReadOnlyList<string> Names { get; } =
        ["matrix multiplications", "attention", "norm and selection", "residual sums", "rotation", "activation"];

    /// <summary>Seconds of each piece since this was last asked, in the order of <see cref="Names"/>.</summary>
    public double[] TakeSeconds()
    {
        double[] seconds = [.. _spent.Select(spent => spent.TotalSeconds)];
        Array.Clear(_spent);
        return seconds;
    }

    /// <summary>One pass through all blocks.</summary>
    public void Pass()
    {
        using var scope = NewDisposeScope();
        using var context = new ForwardContext(_stream.size(1), _cache);
        for (int block = 0; block < _policies.Length; block++)
        {
            Block(block, context);
        }
    }

    public void Dispose()
    {
        _cache.Dispose();
        _rotary.Dispose();
        _stream.Dispose();
        foreach (var indices in _indices)
        {
            indices?.Dispose();
        }
    }

    private void Block(int block, ForwardContext context)
    {
        using var scope = NewDisposeScope();
        var spec = _model.Spec;
        var policy = _policies[block];
        Projection Linear(WeightRole role) => new(_model.Weight(role, block), null);
        NormLayer Norm(WeightRole role) => NormLayer.Create(spec, _model.Weight(role, block), null);

        Tensor input = Timed(
            BlockPiece.Norm, () => policy.SelectInput(SelectionSite.AttentionInput, _stream, Norm(WeightRole.AttentionNorm)));
        Tensor[] parts = Timed(
            BlockPiece.MatMul, () => Projection.Apply(input, Linear(WeightRole.Query), Linear(WeightRole.Key), Linear(WeightRole.Value)));
        Tensor heads = Timed(BlockPiece.Attention, () => context.Attention.TryDecode(block, Attention, parts))
            ?? Prefill(block, parts, context);
        Tensor output = Timed(BlockPiece.MatMul, () => Linear(WeightRole.AttentionOutput).Apply(heads));
        Tensor attended = Timed(BlockPiece.Sum, () => policy.AddResidual(SelectionSite.AttentionOutput, _stream, output));
        input = Timed(BlockPiece.Norm, () => policy.SelectInput(SelectionSite.MlpInput, attended, Norm(WeightRole.MlpNorm)));
        parts = Timed(BlockPiece.MatMul, () => Projection.Apply(input, Linear(WeightRole.MlpGate), Linear(WeightRole.MlpUp)));
        Tensor features = Timed(BlockPiece.MlpActivation, () => DecoderBlock.Activate(spec.Activation, parts[0], parts[1]));
        output = Timed(BlockPiece.MatMul, () => Linear(WeightRole.MlpDown).Apply(features));
        Timed(BlockPiece.Sum, () => policy.AddResidual(SelectionSite.MlpOutput, attended, output));
    }

    /// <summary>Rotary embedding and attention as two pieces.</summary>
    private Tensor Prefill(int block, Tensor[] parts, ForwardContext context)
    {
        var spec = _model.Spec;
        Tensor Heads(Tensor all, int heads) => all.view(all.size(0), all.size(1), heads, spec.HeadDim).transpose(1, 2);
        Tensor query = Heads(parts[0], spec.NumAttentionHeads), key = Heads(parts[1], spec.NumKeyValueHeads),
            value = Heads(parts[2], spec.NumKeyValueHeads);
        (query, key) = Timed(BlockPiece.Rotation, () =>
        {
            var (cosine, sine) = context.Positions.RotaryCosSin(_rotary, query.device, query.dtype);
            return (RotaryEmbedding.Apply(query, cosine, sine), RotaryEmbedding.Apply(key, cosine, sine));
        });
        return Timed(BlockPiece.Attention, () => context.Attention.Forward(block, Attention, query, key, value)).transpose(1, 2).flatten(2);
    }

    private BlockAttention Attention => new(_model.Spec.HeadDim, _rotary, null, null);

    private T Timed<T>(BlockPiece piece, Func<T> work)
    {
        var start = _now();
        T result = work();
        _spent[(int)piece] += _now() - start;
        return result;
    }
}
