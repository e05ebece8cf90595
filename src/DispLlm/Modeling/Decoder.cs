using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// The network of every family: embedding, blocks, final norm, head. It reads a <see cref="DecoderSpec"/> and knows no family's name.
/// Thread-safe;
/// <see cref="Dispose"/> waits for calls that <see cref="Enter"/> counts.
/// </summary>
internal sealed class Decoder : IDisposable
{
    private static readonly DensePolicy s_dense = new();

    private readonly DecoderSpec _spec;
    private readonly DecoderWeights _weights;
    private readonly ITensorBackend _backend;
    private readonly GateLayout _layout;
    private readonly DecoderBlock[] _blocks;
    private readonly SitePolicy[] _policies;
    private readonly NormLayer? _finalNorm;
    private readonly IDecodePath? _decodePath;
    private readonly RotaryScaling? _changingAngles;
    private readonly List<IDisposable> _owned = [];
    private readonly UseCounter _uses = new(nameof(PrunableModel));

    public Decoder(DecoderSpec spec, DecoderWeights weights, ITensorBackend backend, GateLayout layout, SelectionPlan? plan)
    {
        _spec = spec;
        _weights = weights;
        _backend = backend;
        _layout = layout;
        _blocks = new DecoderBlock[spec.NumLayers];
        _policies = new SitePolicy[spec.NumLayers];
        var tables = new Dictionary<(string Device, RotarySpec Spec), RotaryEmbedding>();
        for (int block = 0; block < spec.NumLayers; block++)
        {
            var device = backend.GetBlockDevice(block, spec.NumLayers);
            RotaryEmbedding? rotary = null;
            if (spec.GetAttention(block).Rotary is { } embedding && !tables.TryGetValue((device.ToString(), embedding), out rotary))
            {
                tables.Add((device.ToString(), embedding), rotary = Own(new RotaryEmbedding(embedding, device)));
            }

            _blocks[block] = new DecoderBlock(spec, block, weights, rotary);
            _policies[block] = plan is null || plan.Layout.HasOneStream()
                ? s_dense
                : new PrunedPolicy(Own(BlockIndices.From(plan, block, device)), plan.NormOrder);
        }

        _finalNorm = weights.TryNorm(spec, WeightRole.FinalNorm, -1);
        StreamSize = plan?.Stream?.Count ?? spec.HiddenSize;

        LayerAttention[] attentions = [.. Enumerable.Range(0, spec.NumLayers).Select(spec.GetAttention).Distinct()];
        _changingAngles = Array.Find(attentions, attention => attention.Rotary?.Scaling.DependsOnLength == true)?.Rotary!.Scaling;

        // Attention over a part of the cache, with a cap or with angles that change takes separate operators.
        bool isPlain = spec.AttentionSoftcap is null && _changingAngles is null
            && attentions.All(attention => attention.SlidingWindow is null);
        _decodePath = isPlain ? DecodePath.TryCreate(backend.Device) : null;
    }

    /// <summary>Features of the residual stream.</summary>
    public int StreamSize { get; }

    /// <summary>Begins a call that uses the network.</summary>
    /// <exception cref="ObjectDisposedException">The network is disposed.</exception>
    /// <exception cref="CheckpointException">A weight holds NaN or infinity; it is named.</exception>
    public UseCounter.Use Enter()
    {
        var use = _uses.Enter();
        try
        {
            _weights.EnsureFinite();
            return use;
        }
        catch
        {
            use.Dispose();
            throw;
        }
    }

    /// <summary>Logits <c>[batch, seq, vocab]</c>, or <c>[batch, 1, vocab]</c> of the last position only. The caller disposes
    /// them.</summary>
    public Tensor Logits(Tensor tokens, Gates? gates, bool lastOnly, KeyValueCache? cache = null)
    {
        using var scope = NewDisposeScope();
        tokens = _changingAngles is { } scaling && cache is not null ? cache.Remember(tokens, scaling.Regime) : tokens;
        using var context = new ForwardContext(tokens.shape[1], cache);
        Tensor hidden = gates is { CheckpointActivations: true } ? CheckpointedHiddenStates(tokens, context, gates)
            : cache is not null && gates is null && tokens.shape[1] == 1 ? DecodeStep(tokens, context, cache)
            : HiddenStates(tokens, context, gates);
        cache?.Advance(tokens.shape[1]);
        if (lastOnly && hidden.shape[1] > 1)
        {
            hidden = hidden.narrow(1, hidden.shape[1] - 1, 1);
        }

        return Head(hidden, gates).MoveToOuterDisposeScope();
    }

    /// <summary>The output of the last block, <c>[batch, seq, d]</c>. The caller disposes it.</summary>
    public Tensor HiddenStates(Tensor tokens, SequenceLayout? layout, Gates? gates)
    {
        using var scope = NewDisposeScope();
        using var context = layout is null ? new ForwardContext(tokens.shape[1], null) : new ForwardContext(layout);
        return HiddenStates(tokens, context, gates).MoveToOuterDisposeScope();
    }

    /// <summary>The mean square of each gate's feature: <c>[gates]</c>, float32. The caller disposes it.</summary>
    public Tensor MeanSquareActivations(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var context = new ForwardContext(tokens.shape[1], null);
        var squares = new Tensor[_layout.Sites.Count];
        void Record(int block, SelectionSite site, Tensor features) =>

            // It outlives the block's dispose scope.
            squares[block * SelectionSites.Count + SelectionSites.IndexOf(site)] = features.to(ScalarType.Float32)
                .PowScalar(2).mean([0L, 1L]).view(_layout[block, site].Size, -1).mean([1L]).DetachFromDisposeScope();

        try
        {
            ForwardBlocks(Embed(tokens, context), (block, hidden) => _blocks[block].Forward(
                hidden,
                new ObservingPolicy
                {
                    OnInput = (site, features) => Record(block, site, features),
                    OnOutput = (site, output) => Record(block, site, output),
                },
                context));
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

    /// <summary>The input of the first block, <c>[batch, seq, d]</c>. The caller disposes it.</summary>
    public Tensor Embed(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var context = new ForwardContext(tokens.shape[1], null);
        return Embed(tokens, context).MoveToOuterDisposeScope();
    }

    /// <summary>The output of one block. The caller disposes it.</summary>
    public Tensor ForwardBlock(int block, Tensor hidden, SitePolicy policy)
    {
        using var scope = NewDisposeScope();
        using var context = new ForwardContext(hidden.shape[1], null);
        return _blocks[block].Forward(hidden.On(DeviceOf(block)), policy, context).MoveToOuterDisposeScope();
    }

    /// <summary>The forward pass of one block in stages, before the first of them. The caller disposes it.</summary>
    public BlockStages StageBlock(int block, Tensor hidden, SitePolicy policy)
    {
        using var scope = NewDisposeScope();
        return new BlockStages(_blocks[block], hidden.On(DeviceOf(block)), policy);
    }

    /// <summary>The logits of the last block's output. The caller disposes them.</summary>
    public Tensor ApplyLmHead(Tensor hidden, Gates? gates)
    {
        using var scope = NewDisposeScope();
        return Head(hidden.On(_backend.Device), gates).MoveToOuterDisposeScope();
    }

    /// <summary>The policy of one block under gates. Its tensors belong to the dispose scope of the caller.</summary>
    public SitePolicy GatedPolicyFor(int block, Gates gates) => GatedPolicyFor(block, BlockGates(gates.Values, block), gates);

    public void Dispose()
    {
        if (_uses.Close())
        {
            _owned.ForEach(item => item.Dispose());
            _weights.Dispose();
        }
    }

    private Tensor HiddenStates(Tensor tokens, ForwardContext context, Gates? gates) =>
        ForwardBlocks(Embed(tokens, context), (block, hidden) =>
        _blocks[block].Forward(hidden, gates is null ? _policies[block] : GatedPolicyFor(block, gates), context));

    private Tensor CheckpointedHiddenStates(Tensor tokens, ForwardContext context, Gates gates) =>
        ForwardBlocks(Embed(tokens, context), (block, hidden) => CheckpointedBlock.Apply(
            hidden,
            BlockGates(gates.Values, block),
            _uses,
            (input, gatesOfBlock) => ForwardBlock(block, input, GatedPolicyFor(block, gatesOfBlock, gates))));

    private Tensor DecodeStep(Tensor tokens, ForwardContext context, KeyValueCache cache)
    {
        Tensor Forward(Tensor hidden, ForwardContext context) =>
            ForwardBlocks(hidden, (block, input) => _blocks[block].Forward(input, _policies[block], context));

        Tensor embedded = Embed(tokens, context);
        return _decodePath?.CanHandle(embedded, cache) != true
            ? Forward(embedded, context)
            : _decodePath.Forward(embedded, cache, (hidden, length) =>
        {
            using var step = new ForwardContext(1, cache, length);
            return Forward(hidden.alias(), step);
        });
    }

    /// <summary>Forwards a residual stream, which is disposed, through all blocks.</summary>
    private Tensor ForwardBlocks(Tensor hidden, Func<int, Tensor, Tensor> forward)
    {
        for (int block = 0; block < _blocks.Length; block++)
        {
            Tensor input = hidden.On(DeviceOf(block));
            Tensor output = forward(block, input);

            // Autograd saves what it needs.
            input.Dispose();
            hidden.Dispose();
            hidden = output;
        }

        return hidden.On(_backend.Device);
    }

    private Tensor Embed(Tensor tokens, ForwardContext context)
    {
        Tensor embedded = DeviceKernels.Embedding(_weights[WeightRole.TokenEmbedding, -1], tokens.On(_backend.Device));
        Tensor hidden = _spec.ProjectsEmbedding ? _weights.Projection(WeightRole.EmbeddingInput, -1).Apply(embedded) : embedded;
        if (_spec.EmbeddingScale != 1)
        {
            // Rounded to the compute type first, as transformers has it.
            hidden *= tensor(_spec.EmbeddingScale, ScalarType.Float64).to(hidden.dtype).to(hidden.device);
        }

        return _spec.LearnedPositions is { } learned
            ? hidden.Add(DeviceKernels.Embedding(
                _weights[WeightRole.PositionEmbedding, -1], context.Positions.On(_backend.Device).AddScalar((long)learned.Offset)))
            : hidden;
    }

    private Tensor Head(Tensor hidden, Gates? gates)
    {
        Tensor normed = gates?.Layout.HasOneStream() == true ? FinalNorm(hidden, LastOnStream(gates)) : _finalNorm?.Apply(hidden) ?? hidden;
        Tensor features = _spec.ProjectsEmbedding ? _weights.Projection(WeightRole.EmbeddingOutput, -1).Apply(normed) : normed;
        var headRole = _spec.TieWordEmbeddings ? WeightRole.TokenEmbedding : WeightRole.Head;
        Tensor logits = new Projection(_weights[headRole, -1], _weights.Bias(WeightRole.Head, -1)).Apply(features);
        logits = _spec.LogitScale == 1 ? logits : logits.MulScalar(_spec.LogitScale);
        return _spec.LogitSoftcap is { } cap ? logits.DivScalar(cap).tanh().MulScalar(cap) : logits;
    }

    /// <summary>The final norm of what is open of the residual stream.</summary>
    private Tensor FinalNorm(Tensor hidden, Tensor gates) => _finalNorm?.ApplyToGated(hidden, gates) ?? hidden * gates.to(hidden.dtype);

    private Tensor LastOnStream(Gates gates)
    {
        var range = _layout[_blocks.Length - 1, SelectionSite.MlpInput];
        return gates.Values.narrow(0, range.Offset, range.Size).On(_backend.Device);
    }

    /// <summary>The gates of one block among all.</summary>
    private Tensor BlockGates(Tensor gates, int block)
    {
        var (first, last) = (_layout[block, SelectionSites.All[0]], _layout[block, SelectionSites.All[^1]]);
        return gates.narrow(0, first.Offset, last.Offset + last.Size - first.Offset);
    }

    private GatedPolicy GatedPolicyFor(int block, Tensor gatesOfBlock, Gates all)
    {
        long[] sizes = [.. SelectionSites.All.Select(site => (long)_layout[block, site].Size)];
        Tensor[] values = gatesOfBlock.On(DeviceOf(block)).split(sizes);
        SiteGates?[] sites =
        [
            .. SelectionSites.All.Select((site, index) => !all.Layout.HasGates(site) ? null

                // Groups gate features, and the gates of features are made where their number is known.
                : site == SelectionSite.AttentionGroups ? new SiteGates(values[index], null)
                : SiteGates.From(values[index])),
        ];

        // Without a norm before it, a sublayer selects from the stream itself.
        var order = _spec.HasInputNorms ? all.Layout.Order(all.Order) : NormOrder.NormThenSelect;
        return new GatedPolicy(site => sites[SelectionSites.IndexOf(site)], order, all.Layout.HasOneStream());
    }

    private Device DeviceOf(int block) => _backend.GetBlockDevice(block, _spec.NumLayers);

    private T Own<T>(T item)
        where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }
}
