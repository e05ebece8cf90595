using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// The one network that every family runs on: embedding, blocks, final norm, head. It reads a <see cref="DecoderSpec"/> and
/// knows no family's name.
/// </summary>
internal sealed class Decoder : IDisposable
{
    private static readonly DensePassage s_dense = new();

    private readonly DecoderSpec _spec;
    private readonly DecoderWeights _weights;
    private readonly ITensorBackend _backend;
    private readonly GateLayout _layout;
    private readonly DecoderBlock[] _blocks;
    private readonly List<IDisposable> _owned = [];
    private readonly BlockPassage[] _passages;
    private readonly NormLayer? _finalNorm;

    public Decoder(DecoderSpec spec, DecoderWeights weights, ITensorBackend backend, GateLayout layout, SelectionPlan? plan)
    {
        _spec = spec;
        _weights = weights;
        _backend = backend;
        _layout = layout;
        _blocks = new DecoderBlock[spec.Blocks];
        _passages = new BlockPassage[spec.Blocks];
        var hostBlocks = new HostBlock?[spec.Blocks];
        var tables = new Dictionary<string, RotaryTable>(StringComparer.Ordinal);
        for (int block = 0; block < spec.Blocks; block++)
        {
            var device = backend.DeviceOfBlock(block, spec.Blocks);
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
                _passages[block] = new PrunedPassage(indices, plan.NormOrder);
                hostBlocks[block] = plan.NormOrder == NormOrder.NormThenSelect ? _blocks[block].InHostMemory(indices) : null;
            }
        }

        HostBlocks = HostBlocks.Of(spec, hostBlocks, tables.Values.FirstOrDefault());
        _finalNorm = spec.FinalNorm ? weights.Norm(spec, WeightRole.FinalNorm, -1) : null;
    }

    /// <summary>The blocks for one position in the CPU's memory; null where it goes through tensors.</summary>
    public HostBlocks? HostBlocks { get; }

    /// <summary>Logits <c>[batch, seq, vocab]</c>, or <c>[batch, 1, vocab]</c> of the last position only. The caller disposes them.</summary>
    public Tensor Logits(Tensor tokens, Gates? gates, bool lastOnly, KeyValueCache? cache = null)
    {
        using var scope = NewDisposeScope();
        using var window = new SequenceWindow(tokens.shape[1], cache);
        Tensor stream = gates is { KeepBlockInputsOnly: true } ? RecomputedStream(tokens, window, gates)
            : cache is not null && gates is null && tokens.shape[1] == 1 ? NextStream(tokens, window, cache)
            : Stream(tokens, window, gates);
        cache?.Advance(tokens.shape[1]);
        if (lastOnly && stream.shape[1] > 1)
        {
            stream = stream.narrow(1, stream.shape[1] - 1, 1);
        }

        return Predict(stream).MoveToOuterDisposeScope();
    }

    /// <summary>The stream <c>[batch, seq, d]</c> behind the last block. The caller disposes it.</summary>
    public Tensor Features(Tensor tokens, SequenceLayout? layout, Gates? gates)
    {
        using var scope = NewDisposeScope();
        using var window = layout is null ? new SequenceWindow(tokens.shape[1], null) : new SequenceWindow(layout);
        return Stream(tokens, window, gates).MoveToOuterDisposeScope();
    }

    /// <summary>The mean square of what passes each gate: <c>[gates]</c>, float32. The caller disposes it.</summary>
    public Tensor GateActivity(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var window = new SequenceWindow(tokens.shape[1], null);
        var squares = new Tensor[_layout.Sites.Count];
        void Note(int block, SelectionSite site, Tensor features) =>

            // It outlives the block's dispose scope.
            squares[block * GateLayout.SitesPerBlock + (int)site - 1] = features.to(ScalarType.Float32).Power(2).mean([0L, 1L]).DetachFromDisposeScope();

        try
        {
            Stream(tokens, window, (block, stream) =>
                _blocks[block].Forward(
                    stream,
                    new ObservingPassage
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
    public Tensor Enter(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var window = new SequenceWindow(tokens.shape[1], null);
        return Embed(tokens.to(_backend.Device), window).MoveToOuterDisposeScope();
    }

    /// <summary>The stream behind one block. The caller disposes it.</summary>
    public Tensor Pass(int block, Tensor stream, BlockPassage passage)
    {
        using var scope = NewDisposeScope();
        using var window = new SequenceWindow(stream.shape[1], null);
        return _blocks[block].Forward(stream.to(_backend.DeviceOfBlock(block, _spec.Blocks)), passage, window).MoveToOuterDisposeScope();
    }

    /// <summary>A stream in front of one block's first weights, to be passed on step by step. The caller disposes it.</summary>
    public StagedPass PassInStages(int block, Tensor stream, BlockPassage passage)
    {
        using var scope = NewDisposeScope();
        return new StagedPass(_blocks[block], stream.to(_backend.DeviceOfBlock(block, _spec.Blocks)), passage);
    }

    /// <summary>The logits of the stream behind the last block. The caller disposes them.</summary>
    public Tensor LogitsOf(Tensor stream)
    {
        using var scope = NewDisposeScope();
        return Predict(stream.to(_backend.Device)).MoveToOuterDisposeScope();
    }

    /// <summary>The way through one block under gates. Its tensors belong to the dispose scope of the caller.</summary>
    public BlockPassage PassageOf(int block, Gates gates) => Passage(block, OfBlock(gates.Values, block), gates.Order);

    private Tensor Stream(Tensor tokens, SequenceWindow window, Gates? gates) => Stream(tokens, window, (block, stream) =>
        _blocks[block].Forward(stream, gates is null ? _passages[block] : PassageOf(block, gates), window));

    private Tensor RecomputedStream(Tensor tokens, SequenceWindow window, Gates gates) => Stream(tokens, window, (block, stream) => RecomputedBlock.Of(
        stream,
        OfBlock(gates.Values, block),
        (entering, open) => Pass(block, entering, Passage(block, open, gates.Order))));

    /// <summary>The stream of one position more.</summary>
    private Tensor NextStream(Tensor tokens, SequenceWindow window, KeyValueCache cache)
    {
        Tensor entering = Embed(tokens.On(_backend.Device), window);
        if (HostBlocks?.Takes(entering) == true)
        {
            HostBlocks.Pass(entering, window, cache);
            return entering;
        }

        return cache.Next(entering, (entering, place) =>
        {
            using var window = new SequenceWindow(1, cache) { Place = place };
            return ThroughBlocks(entering.alias(), (block, stream) => _blocks[block].Forward(stream, _passages[block], window));
        });
    }

    private Tensor Stream(Tensor tokens, SequenceWindow window, Func<int, Tensor, Tensor> pass) => ThroughBlocks(Embed(tokens.to(_backend.Device), window), pass);

    private Tensor ThroughBlocks(Tensor stream, Func<int, Tensor, Tensor> pass)
    {
        for (int block = 0; block < _blocks.Length; block++)
        {
            Tensor entering = stream.On(_backend.DeviceOfBlock(block, _spec.Blocks));
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

    private Tensor Embed(Tensor tokens, SequenceWindow window)
    {
        Tensor embedded = DeviceKernels.RowsAt(_weights[WeightRole.TokenEmbedding, -1], tokens);
        Tensor stream = _spec.ProjectsEmbedding ? _weights.Projection(WeightRole.EmbeddingInput, -1).Apply(embedded) : embedded;
        return _spec.LearnedPositions is { } learned
            ? stream.Plus(DeviceKernels.RowsAt(_weights[WeightRole.PositionEmbedding, -1], window.PositionsOn(_backend.Device).Plus((long)learned.Offset)))
            : stream;
    }

    private Tensor Predict(Tensor stream)
    {
        Tensor normed = _finalNorm?.Apply(stream) ?? stream;
        Tensor features = _spec.ProjectsEmbedding ? _weights.Projection(WeightRole.EmbeddingOutput, -1).Apply(normed) : normed;
        var headRole = _spec.TiedHead ? WeightRole.TokenEmbedding : WeightRole.Head;
        return new Projection(_weights[headRole, -1], _weights.Bias(WeightRole.Head, -1)).Apply(features);
    }

    /// <summary>The gates of one block among all.</summary>
    private Tensor OfBlock(Tensor gates, int block)
    {
        var (first, last) = (_layout[block, SelectionSite.AttentionInput], _layout[block, SelectionSite.MlpOutput]);
        return gates.narrow(0, first.Offset, last.Offset + last.Size - first.Offset);
    }

    private GatedPassage Passage(int block, Tensor gatesOfBlock, NormOrder order)
    {
        var device = _backend.DeviceOfBlock(block, _spec.Blocks);
        long[] sizes = [.. Enumerable.Range(1, GateLayout.SitesPerBlock).Select(site => (long)_layout[block, (SelectionSite)site].Size)];
        SiteGates[] sites = [.. gatesOfBlock.to(device).split(sizes).Select(values => new SiteGates(values, DeviceKernels.WorthGathering(values)))];
        return new GatedPassage(site => sites[(int)site - 1], order);
    }
}
