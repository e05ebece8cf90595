using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A model under the gates of a plan, computed block by block on sequences of text: what the reconstruction reads and changes. It holds the
/// residual stream of every sequence before one block, and the dense network's.
/// </summary>
internal sealed class GatedNetwork : IDisposable
{
    /// <summary>Tokens of one forward pass: the rows and columns that gates keep are gathered once per pass.</summary>
    private const long TokensTogether = 4096;

    private readonly PrunableModel _model;
    private readonly SelectionPlan _plan;
    private readonly Gates _gates;
    private readonly Tensor[] _fitted;
    private readonly long _fittedTokens;
    private readonly Tensor[] _dense;
    private readonly DenseTrace[] _traces;
    private readonly List<BlockStages> _passing = [];
    private readonly Tensor[] _heldOut;
    private readonly Tensor[] _targets;

    /// <summary>Embeds the sequences.</summary>
    /// <param name="model">A copy of the model that nobody else uses.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="sequences">The sequences to fit on, then those held out.</param>
    /// <param name="options">How many of each.</param>
    public GatedNetwork(PrunableModel model, SelectionPlan plan, Tensor[] sequences, ReconstructionOptions options)
    {
        _model = model;
        Target = options.Target;
        _plan = plan;
        _gates = Gates.FromPlan(plan, model.Backend);
        int fitted = sequences.Length - options.HeldOutSequences;
        _fitted = Streams(sequences[..fitted]);
        _fittedTokens = _fitted.Sum(stream => stream.shape[0] * stream.shape[1]);
        _dense = [.. _fitted.Select(stream => stream.clone().DetachFromDisposeScope())];
        _traces = [.. _fitted.Select(_ => new DenseTrace(options.Target, model.Spec))];
        _heldOut = Streams(sequences[fitted..]);
        _targets = [.. sequences[fitted..].Select(tokens => tokens.narrow(1, 1, tokens.shape[1] - 1).reshape(-1))];
    }

    /// <summary>What corrections aim at.</summary>
    public ReconstructionTarget Target { get; }

    /// <summary>The model's spec.</summary>
    public DecoderSpec Spec => _model.Spec;

    /// <summary>
    /// Copies of a block's present weights that read the residual stream or the hidden features, and of those that write. Float32.
    /// </summary>
    public IReadOnlyDictionary<WeightRole, Tensor> ReadersAndWriters(int block) => ParameterCatalog.BlockParameters(Spec, block)
        .Where(part => !part.IsBias && GetInputSite(part.Role) is not null)
        .ToDictionary(part => part.Role, part => _model.Weight(part.Role, block).to(ScalarType.Float32, copy: true));

    /// <summary>Replaces weights of a block.</summary>
    public void Replace(int block, IReadOnlyDictionary<WeightRole, Tensor> weights)
    {
        foreach (var (role, value) in weights)
        {
            _model.Weight(role, block).copy_(value);
        }
    }

    /// <summary>
    /// Multiplies a block's weights by the plan's scales, as pruning does, and sets its gates to 0 or 1: from here on its weights are those
    /// of the pruned network.
    /// </summary>
    public void FoldScales(int block)
    {
        if (_plan.Scales is not { } scales)
        {
            return;
        }

        using var scope = NewDisposeScope();
        Tensor ScalesAt(SelectionSite site, WeightRole role)
        {
            Tensor perIndex = tensor(scales.ForSite(block, site).ToArray()).to(GetDevice(block));
            return perIndex.repeat_interleave(_plan.Model.FeaturesPerIndex(site, role));
        }

        foreach (var part in ParameterCatalog.BlockParameters(Spec, block))
        {
            var axes = PrunedAxes.For(part.Role, Spec.QueryKeyNorm);
            var target = part.IsBias ? _model.Bias(part.Role, block)! : _model.Weight(part.Role, block);
            if (axes.ScaledRows is { } rows)
            {
                target.mul_(target.dim() == 1 ? ScalesAt(rows, part.Role) : ScalesAt(rows, part.Role).unsqueeze(1));
            }

            if (axes.InputSite is { } columns && !part.IsBias)
            {
                target.mul_(ScalesAt(columns, part.Role));
            }
        }

        using var open = Gates.FromPlan(_plan with { Scales = null }, _model.Backend);
        foreach (var site in _model.GateLayout.Sites.Where(site => site.Block == block))
        {
            _gates.Values.narrow(0, site.Offset, site.Size).copy_(open.Values.narrow(0, site.Offset, site.Size));
        }
    }

    /// <summary>
    /// Passes the dense streams of the fitted sequences through a block, whose weights have to be the dense ones still, and keeps what
    /// corrections aim at.
    /// </summary>
    public void TraceDense(int block, CancellationToken cancellation)
    {
        for (int i = 0; i < _dense.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Move(ref _dense[i], _model.Network.ForwardBlock(block, _dense[i], _traces[i].CreatePolicy()).DetachFromDisposeScope());
        }
    }

    /// <summary>Brings the fitted sequences to the input of a block's first weights, in the pruned network.</summary>
    public void Enter(int block)
    {
        Leave();
        var passage = _model.Network.GatedPolicyFor(block, _gates);
        foreach (var stream in _fitted)
        {
            _passing.Add(_model.Network.StageBlock(block, stream, passage));
        }
    }

    /// <summary>Brings the fitted sequences through the next weights.</summary>
    public void Step(CancellationToken cancellation)
    {
        foreach (var pass in _passing)
        {
            cancellation.ThrowIfCancellationRequested();
            pass.Step();
        }
    }

    /// <summary>
    /// What the correction of the next weights is computed from, as means over tokens in float32: the second moments <c>[kept, kept]</c> of
    /// their kept inputs in the network as cut so far, and for each weight those <c>[out, kept]</c> of what it shall give with them.
    /// </summary>
    public (Tensor Moments, IReadOnlyDictionary<WeightRole, Tensor> Wanted) Fit(
        int block, SelectionSite site, Tensor keep, IReadOnlyDictionary<WeightRole, Tensor> dense, CancellationToken cancellation)
    {
        using var all = NewDisposeScope();
        var roles = dense.Keys.Where(role => GetInputSite(role) == site).ToArray();
        SelectionSite? writes = WrittenFrom(site);

        // A weight that aims at what it makes of its own input needs no outputs: they are the dense weight times moments of the input.
        bool ofOutput = writes is not null && Target != ReconstructionTarget.PrunedActivations;
        Tensor moments = zeros(keep.shape[0], keep.shape[0], ScalarType.Float32, keep.device);
        Tensor wanted = zeros(ofOutput ? Spec.HiddenSize : InputSize(block, site), keep.shape[0], ScalarType.Float32, keep.device);
        Tensor? bias = ofOutput ? _model.Bias(roles[0], block)?.to(ScalarType.Float32) : null;
        float share = 1f / _fittedTokens;
        foreach (var (pass, trace) in _passing.Zip(_traces))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor input = DenseTrace.Rows(pass.Features);
            Tensor? counts = writes is { } at ? trace.TokenWeight(at) : null;
            input = counts is null ? input : input * counts;
            Tensor shall = input;
            if (ofOutput)
            {
                Tensor output = trace.Written(writes!.Value, DenseTrace.Rows(pass.Stream));
                shall = (bias is null ? output : output - bias) * counts!;
            }
            else if (writes is null && Target != ReconstructionTarget.PrunedActivations)
            {
                shall = trace.Read(site);
            }

            Tensor kept = input.index_select(1, keep);
            moments.addmm_(kept.t(), kept, 1, share);
            wanted.addmm_(shall.t(), kept, 1, share);
        }

        moments.MoveToOuterDisposeScope();
        return (moments, roles.ToDictionary(role => role, role => (ofOutput ? wanted : dense[role].mm(wanted)).MoveToOuterDisposeScope()));
    }

    /// <summary>The site of a weight's input; null where it has none.</summary>
    public SelectionSite? GetInputSite(WeightRole role) => PrunedAxes.For(role, Spec.QueryKeyNorm).InputSite;

    /// <summary>How many inputs a weight that reads at a site has in the dense network.</summary>
    public long InputSize(int block, SelectionSite site) => _model.GateLayout[block, site].Size
        * (long)_plan.Model.FeaturesPerIndex(site, WeightRole.AttentionOutput);

    /// <summary>Where a block is computed.</summary>
    public Device GetDevice(int block) => _model.Backend.GetBlockDevice(block, Spec.NumLayers);

    /// <summary>Cross-entropy of the held-out sequences, in nats a token, from the given block on.</summary>
    public double HeldOutLoss(int block, CancellationToken cancellation)
    {
        double sum = 0;
        int number = 0;
        foreach (var heldOut in _heldOut)
        {
            using var scope = NewDisposeScope();
            Tensor stream = heldOut;
            for (int next = block; next < Spec.NumLayers; next++)
            {
                cancellation.ThrowIfCancellationRequested();
                stream = _model.Network.ForwardBlock(next, stream, _model.Network.GatedPolicyFor(next, _gates));
            }

            // Logits are the widest tensors: one sequence at a time.
            foreach (var row in stream.split(1))
            {
                using var head = NewDisposeScope();
                Tensor logits = _model.Network.ApplyLmHead(row, null);
                sum += CausalLmLoss.ComputeFromLogits(logits, _targets[number++].to(logits.device)).ReadDouble();
            }
        }

        return number == 0 ? 0 : sum / number;
    }

    /// <summary>Brings every sequence's residual stream through the block; the fitted ones have entered it before.</summary>
    public void Advance(int block, CancellationToken cancellation)
    {
        for (int i = 0; i < _fitted.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            Move(ref _fitted[i], _passing[i].Finish());
        }

        Leave();
        for (int i = 0; i < _heldOut.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Move(ref _heldOut[i],
                _model.Network.ForwardBlock(block, _heldOut[i], _model.Network.GatedPolicyFor(block, _gates)).DetachFromDisposeScope());
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave();
        foreach (var stream in _fitted.Concat(_heldOut).Concat(_dense))
        {
            stream.Dispose();
        }

        foreach (var trace in _traces)
        {
            trace.Dispose();
        }

        _gates.Dispose();
    }

    private void Leave()
    {
        _passing.ForEach(pass => pass.Dispose());
        _passing.Clear();
    }

    private static void Move(ref Tensor stream, Tensor next)
    {
        stream.Dispose();
        stream = next;
    }

    /// <summary>
    /// The residual streams <c>[sequences, seq, d]</c> before the first block, of as many sequences at a time as
    /// <see cref="TokensTogether"/> allows.
    /// </summary>
    private Tensor[] Streams(Tensor[] sequences)
    {
        int together = (int)Math.Max(1, TokensTogether / sequences.Select(tokens => tokens.shape[1]).FirstOrDefault(1));
        return [.. sequences.Chunk(together).Select(chunk =>
        {
            using var scope = NewDisposeScope();
            Tensor tokens = cat(chunk);
            return _model.Network.Embed(tokens.narrow(1, 0, tokens.shape[1] - 1)).DetachFromDisposeScope();
        })];
    }

    /// <summary>Where the projection that reads at a site writes to the stream; null where it does not.</summary>
    private static SelectionSite? WrittenFrom(SelectionSite site) => site switch
    {
        SelectionSite.AttentionGroups => SelectionSite.AttentionOutput,
        SelectionSite.MlpHidden => SelectionSite.MlpOutput,
        _ => null,
    };
}
