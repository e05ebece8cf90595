using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Inference;

/// <summary>
/// The pieces of a forward pass through a model's blocks, with the library's own code and the model's weights, in the order in which a pass computes them: what a piece
/// finds in the caches is what it finds there in use.
/// </summary>
internal sealed class BlockPieces : IDisposable
{
    private readonly PrunableModel _model;
    private readonly Func<TimeSpan> _now;
    private readonly TimeSpan[] _spent = new TimeSpan[Names.Count];
    private readonly RotaryTable _rotary;
    private readonly KeyValueCache _cache;
    private readonly Tensor _stream;
    private readonly BlockIndices?[] _indices;
    private readonly UngatedPolicy[] _passages;

    public BlockPieces(PrunableModel model, Case use, Func<TimeSpan> now)
    {
        _model = model;
        _now = now;
        var spec = model.Spec;
        using var scope = NewDisposeScope();
        using var random = new RandomSource(0).Stream("pieces");
        Tensor Numbers(params long[] shape) => random.Normal(shape).to(model.Backend.ComputeType).to(model.Backend.Device);
        _rotary = new RotaryTable(spec.Rotary!, model.Backend.Device);
        _stream = Numbers(use.Batch, use.Length, spec.HiddenSize).DetachFromDisposeScope();
        _indices = [.. Enumerable.Range(0, spec.NumLayers).Select(block => model.Plan is null ? null : BlockIndices.From(model.Plan.Blocks[block], model.Backend.Device))];
        _passages = [.. _indices.Select(indices => indices is null ? (UngatedPolicy)new DensePolicy() : new PrunedPolicy(indices, model.Plan!.NormOrder))];
        _cache = model.CreateKeyValueCache();
        if (use.Before > 0)
        {
            Tensor before = Numbers(use.Batch, spec.NumKeyValueHeads, use.Before, spec.HeadDim);
            for (int block = 0; block < spec.NumLayers; block++)
            {
                _cache.Append(block, before, before);
            }

            _cache.Advance(use.Before);
        }
    }

    /// <summary>Names of pieces, in the order of <see cref="BlockPiece"/>.</summary>
    public static IReadOnlyList<string> Names { get; } = ["products", "attention", "norm and selection", "residual sums", "rotation", "activation"];

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
        using var window = new ForwardContext(_stream.size(1), _cache);
        if (_model.HostBlocks?.CanHandle(_stream) == true)
        {
            var last = _now();
            _model.HostBlocks.Pass(_stream.clone(), window, _cache, passed =>
            {
                var now = _now();
                _spent[(int)passed] += now - last;
                last = now;
            });
            return;
        }

        for (int block = 0; block < _passages.Length; block++)
        {
            Block(block, window);
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

    private void Block(int block, ForwardContext window)
    {
        using var scope = NewDisposeScope();
        var spec = _model.Spec;
        var passage = _passages[block];
        Projection Of(WeightRole role) => new(_model.Weight(role, block), null);
        NormLayer Norm(WeightRole role) => NormLayer.Create(spec, _model.Weight(role, block), null);

        Tensor read = Timed(BlockPiece.Norm, () => passage.Enter(SelectionSite.AttentionInput, _stream, Norm(WeightRole.AttentionNorm)));
        Tensor[] parts = Timed(BlockPiece.Products, () => Projection.Apply(read, Of(WeightRole.Query), Of(WeightRole.Key), Of(WeightRole.Value)));
        Tensor mixed = Timed(BlockPiece.Attention, () => window.AttendAsWritten(block, parts, spec.HeadDim, _rotary)) ?? InSteps(block, parts, window);
        Tensor written = Timed(BlockPiece.Products, () => Of(WeightRole.AttentionOutput).Apply(mixed));
        Tensor attended = Timed(BlockPiece.Sum, () => passage.Sum(SelectionSite.AttentionOutput, _stream, written));
        read = Timed(BlockPiece.Norm, () => passage.Enter(SelectionSite.MlpInput, attended, Norm(WeightRole.MlpNorm)));
        parts = Timed(BlockPiece.Products, () => Projection.Apply(read, Of(WeightRole.MlpGate), Of(WeightRole.MlpUp)));
        Tensor hidden = Timed(BlockPiece.MlpActivation, () => DecoderBlock.Activate(spec.Activation, parts[0], parts[1]));
        Tensor computed = Timed(BlockPiece.Products, () => Of(WeightRole.MlpDown).Apply(hidden));
        Timed(BlockPiece.Sum, () => passage.Sum(SelectionSite.MlpOutput, attended, computed));
    }

    /// <summary>What is one piece where one position is read: turned first, attention behind it.</summary>
    private Tensor InSteps(int block, Tensor[] parts, ForwardContext window)
    {
        var spec = _model.Spec;
        Tensor Heads(Tensor all, int heads) => all.view(all.size(0), all.size(1), heads, spec.HeadDim).transpose(1, 2);
        Tensor query = Heads(parts[0], spec.NumAttentionHeads), key = Heads(parts[1], spec.NumKeyValueHeads), value = Heads(parts[2], spec.NumKeyValueHeads);
        (query, key) = Timed(BlockPiece.Rotation, () =>
        {
            var (cosine, sine) = window.RotaryCosSin(_rotary, query.device, query.dtype);
            return (RotaryTable.Rotate(query, cosine, sine), RotaryTable.Rotate(key, cosine, sine));
        });
        return Timed(BlockPiece.Attention, () => window.Attend(block, query, key, value)).transpose(1, 2).flatten(2);
    }

    private T Timed<T>(BlockPiece piece, Func<T> work)
    {
        var start = _now();
        T result = work();
        _spent[(int)piece] += _now() - start;
        return result;
    }
}
