using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// The one network that every family runs on: embedding, blocks, final norm, head. It reads a <see cref="DecoderSpec"/> and
/// knows no family's name.
/// </summary>
internal sealed class Decoder : IDisposable
{
    private static readonly DensePolicy s_dense = new();

    private readonly DecoderSpec _spec;
    private readonly DecoderWeights _weights;
    private readonly ITensorBackend _backend;
    private readonly GateLayout _layout;
    private readonly DecoderBlock[] _blocks;
    private readonly List<IDisposable> _owned = [];
    private readonly SitePolicy[] _passages;
    private readonly NormLayer? _finalNorm;

    public Decoder(DecoderSpec spec, DecoderWeights weights, ITensorBackend backend, GateLayout layout, SelectionPlan? plan)
    {
        _spec = spec;
        _weights = weights;
        _backend = backend;
        _layout = layout;
        _blocks = new DecoderBlock[spec.NumLayers];
        _passages = new SitePolicy[spec.NumLayers];
        var hostBlocks = new HostBlock?[spec.NumLayers];
        var tables = new Dictionary<string, RotaryTable>(StringComparer.Ordinal);
        for (int block = 0; block < spec.NumLayers; block++)
        {
            var device = backend.GetBlockDevice(block, spec.NumLayers);
            RotaryTable? rotary = null;
            if (spec.Rotary is not null && !tables.TryGetValue(device.ToString(), out rotary))
            {
                tables.Add(device.ToString(), rotary = new RotaryTable(spec.Rotary, device));
                _owned.Add(rotary);
            }

            _blocks[block] = new DecoderBlock(spec, block, weights, rotary);
            if (plan is null)
            {
                _passages[block] = s_dense;
                hostBlocks[block] = _blocks[block].InHostMemory(null);
            }
            else
            {
                var indices = BlockIndices.From(plan.Blocks[block], device);
                _owned.Add(indices);
                _passages[block] = new PrunedPolicy(indices, plan.NormOrder);
                hostBlocks[block] = plan.NormOrder == NormOrder.NormThenSelect ? _blocks[block].InHostMemory(indices) : null;
            }
        }

        HostBlocks = HostBlocks.TryCreate(spec, hostBlocks, tables.Values.FirstOrDefault());
        _finalNorm = spec.FinalNorm ? weights.Norm(spec, WeightRole.FinalNorm, -1) : null;
    }

    /// <summary>The blocks for one position in the CPU's memory; null where it goes through tensors.</summary>
    public HostBlocks? HostBlocks { get; }

    /// <summary>Logits <c>[batch, seq, vocab]</c>, or <c>[batch, 1, vocab]</c> of the last position only. The caller disposes them.</summary>
    public Tensor Logits(Tensor tokens, Gates? gates, bool lastOnly, KeyValueCache? cache = null)
    {
        using var scope = NewDisposeScope();
        using var window = new ForwardContext(tokens.shape[1], cache);
        Tensor stream = gates is { CheckpointActivations: true } ? CheckpointedStream(tokens, window, gates)
            : cache is not null && gates is null && tokens.shape[1] == 1 ? DecodeStep(tokens, window, cache)
            : ResidualStream(tokens, window, gates);
        cache?.Advance(tokens.shape[1]);
        if (lastOnly && stream.shape[1] > 1)
        {
            stream = stream.narrow(1, stream.shape[1] - 1, 1);
        }

        return Predict(stream).MoveToOuterDisposeScope();
    }

    /// <summary>The stream <c>[batch, seq, d]</c> behind the last block. The caller disposes it.</summary>
    public Tensor HiddenStates(Tensor tokens, SequenceLayout? layout, Gates? gates)
    {
        using var scope = NewDisposeScope();
        using var window = layout is null ? new ForwardContext(tokens.shape[1], null) : new ForwardContext(layout);
        return ResidualStream(tokens, window, gates).MoveToOuterDisposeScope();
    }

    /// <summary>The mean square of what passes each gate: <c>[gates]</c>, float32. The caller disposes it.</summary>
    public Tensor MeanSquareActivations(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var window = new ForwardContext(tokens.shape[1], null);
        var squares = new Tensor[_layout.Sites.Count];
        void Note(int block, SelectionSite site, Tensor features) =>

            // It outlives the block's dispose scope.
            squares[block * GateLayout.SitesPerBlock + (int)site - 1] = features.to(ScalarType.Float32).PowScalar(2).mean([0L, 1L]).DetachFromDisposeScope();

        try
        {
            ResidualStream(tokens, window, (block, stream) =>
                _blocks[block].Forward(
                    stream,
                    new ObservingPolicy
                    {
                        // At S2 the gate is behind the projection.
                        OnRead = (site, features) =>
                        {
                            if (site != SelectionSite.AttentionOutput)
                            {
                                Note(block, site, features);
                            }
                        },
                        OnWritten = (site, output) => Note(block, site, output),
                    },
                    window));
            return cat([.. squares.Select(square => square.to(_backend.Device))]).MoveToOuterDisposeScope();
        }
        finally
        {
            foreach (var square in squares)
            {
                square?.Dispose();
            }
        }
    }

    /// <summary>The stream <c>[batch, seq, d]</c> in front of the first block. The caller disposes it.</summary>
    public Tensor Embed(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var window = new ForwardContext(tokens.shape[1], null);
        return Embed(tokens.to(_backend.Device), window).MoveToOuterDisposeScope();
    }

    /// <summary>The stream behind one block. The caller disposes it.</summary>
    public Tensor ForwardBlock(int block, Tensor stream, SitePolicy passage)
    {
        using var scope = NewDisposeScope();
        using var window = new ForwardContext(stream.shape[1], null);
        return _blocks[block].Forward(stream.to(_backend.GetBlockDevice(block, _spec.NumLayers)), passage, window).MoveToOuterDisposeScope();
    }

    /// <summary>A stream in front of one block's first weights, to be passed on step by step. The caller disposes it.</summary>
    public BlockStages StageBlock(int block, Tensor stream, SitePolicy passage)
    {
        using var scope = NewDisposeScope();
        return new BlockStages(_blocks[block], stream.to(_backend.GetBlockDevice(block, _spec.NumLayers)), passage);
    }

    /// <summary>The logits of the stream behind the last block. The caller disposes them.</summary>
    public Tensor ApplyLmHead(Tensor stream)
    {
        using var scope = NewDisposeScope();
        return Predict(stream.to(_backend.Device)).MoveToOuterDisposeScope();
    }

    /// <summary>The way through one block under gates. Its tensors belong to the dispose scope of the caller.</summary>
    public SitePolicy GatedPolicyFor(int block, Gates gates) => GatedPolicyFor(block, BlockGates(gates.Values, block), gates.Order);

    private Tensor ResidualStream(Tensor tokens, ForwardContext window, Gates? gates) => ResidualStream(tokens, window, (block, stream) =>
        _blocks[block].Forward(stream, gates is null ? _passages[block] : GatedPolicyFor(block, gates), window));

    private Tensor CheckpointedStream(Tensor tokens, ForwardContext window, Gates gates) => ResidualStream(tokens, window, (block, stream) => CheckpointedBlock.Apply(
        stream,
        BlockGates(gates.Values, block),
        (entering, open) => ForwardBlock(block, entering, GatedPolicyFor(block, open, gates.Order))));

    /// <summary>The stream of one position more.</summary>
    private Tensor DecodeStep(Tensor tokens, ForwardContext window, KeyValueCache cache)
    {
        Tensor entering = Embed(tokens.On(_backend.Device), window);
        if (HostBlocks?.CanHandle(entering) == true)
        {
            HostBlocks.Pass(entering, window, cache);
            return entering;
        }

        return cache.Next(entering, (entering, place) =>
        {
            using var window = new ForwardContext(1, cache) { Place = place };
            return ThroughBlocks(entering.alias(), (block, stream) => _blocks[block].Forward(stream, _passages[block], window));
        });
    }

    private Tensor ResidualStream(Tensor tokens, ForwardContext window, Func<int, Tensor, Tensor> pass) => ThroughBlocks(Embed(tokens.to(_backend.Device), window), pass);

    private Tensor ThroughBlocks(Tensor stream, Func<int, Tensor, Tensor> pass)
    {
        for (int block = 0; block < _blocks.Length; block++)
        {
            Tensor entering = stream.On(_backend.GetBlockDevice(block, _spec.NumLayers));
            Tensor leaving = pass(block, entering);

            // Autograd keeps what it needs; nobody else needs the stream before this block any more.
            entering.Dispose();
            stream.Dispose();
            stream = leaving;
        }

        return stream.On(_backend.Device);
    }

    public void Dispose()
    {
        _owned.ForEach(item => item.Dispose());
        _weights.Dispose();
    }

    private Tensor Embed(Tensor tokens, ForwardContext window)
    {
        Tensor embedded = DeviceKernels.Embedding(_weights[WeightRole.TokenEmbedding, -1], tokens);
        Tensor stream = _spec.ProjectsEmbedding ? _weights.Projection(WeightRole.EmbeddingInput, -1).Apply(embedded) : embedded;
        return _spec.LearnedPositions is { } learned
            ? stream.Add(DeviceKernels.Embedding(_weights[WeightRole.PositionEmbedding, -1], window.PositionsOn(_backend.Device).AddScalar((long)learned.Offset)))
            : stream;
    }

    private Tensor Predict(Tensor stream)
    {
        Tensor normed = _finalNorm?.Apply(stream) ?? stream;
        Tensor features = _spec.ProjectsEmbedding ? _weights.Projection(WeightRole.EmbeddingOutput, -1).Apply(normed) : normed;
        var headRole = _spec.TieWordEmbeddings ? WeightRole.TokenEmbedding : WeightRole.Head;
        return new Projection(_weights[headRole, -1], _weights.Bias(WeightRole.Head, -1)).Apply(features);
    }

    /// <summary>The gates of one block among all.</summary>
    private Tensor BlockGates(Tensor gates, int block)
    {
        var (first, last) = (_layout[block, SelectionSite.AttentionInput], _layout[block, SelectionSite.MlpOutput]);
        return gates.narrow(0, first.Offset, last.Offset + last.Size - first.Offset);
    }

    private GatedPolicy GatedPolicyFor(int block, Tensor gatesOfBlock, NormOrder order)
    {
        var device = _backend.GetBlockDevice(block, _spec.NumLayers);
        long[] sizes = [.. Enumerable.Range(1, GateLayout.SitesPerBlock).Select(site => (long)_layout[block, (SelectionSite)site].Size)];
        SiteGates[] sites = [.. gatesOfBlock.to(device).split(sizes).Select(values => new SiteGates(values, DeviceKernels.SelectOpenGates(values)))];
        return new GatedPolicy(site => sites[(int)site - 1], order);
    }
}
