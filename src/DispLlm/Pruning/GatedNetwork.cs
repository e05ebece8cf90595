using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A model under the gates of a plan, computed block by block on windows of text: what the compensation looks at and changes. It holds the stream of every
/// window in front of one block, the dense network's beside it, and nothing behind it.
/// </summary>
internal sealed class GatedNetwork : IDisposable
{
    /// <summary>Tokens that pass a block together: gates leave out rows and columns of its weights, which are gathered once a pass.</summary>
    private const long TokensTogether = 4096;

    private readonly PrunableModel _model;
    private readonly SelectionPlan _plan;
    private readonly Gates _gates;
    private readonly Tensor[] _fitted;
    private readonly long _fittedTokens;
    private readonly Tensor[] _dense;
    private readonly DenseTrace[] _traces;
    private readonly List<BlockStages> _passing = [];
    private readonly Tensor[] _judged;
    private readonly Tensor[] _targets;

    /// <summary>Puts windows in front of the first block.</summary>
    /// <param name="model">A copy of the model that nobody else uses.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="windows">The windows to fit on, then those to judge by.</param>
    /// <param name="options">How many of each.</param>
    public GatedNetwork(PrunableModel model, SelectionPlan plan, Tensor[] windows, ReconstructionOptions options)
    {
        _model = model;
        Target = options.Target;
        _plan = plan;
        _gates = Gates.FromPlan(plan, model.Backend);
        int fitted = windows.Length - options.HeldOutSequences;
        _fitted = Streams(windows[..fitted]);
        _fittedTokens = _fitted.Sum(stream => stream.shape[0] * stream.shape[1]);
        _dense = [.. _fitted.Select(stream => stream.clone().DetachFromDisposeScope())];
        _traces = [.. _fitted.Select(_ => new DenseTrace(options.Target))];
        _judged = Streams(windows[fitted..]);
        _targets = [.. windows[fitted..].Select(window => window.narrow(1, 1, window.shape[1] - 1).reshape(-1))];
    }

    /// <summary>What corrections aim at.</summary>
    public ReconstructionTarget Target { get; }

    /// <summary>The model's spec.</summary>
    public DecoderSpec Spec => _model.Spec;

    /// <summary>A block's weights as they are now, copied: those that read the stream or the hidden features, and those that write. Float32.</summary>
    public IReadOnlyDictionary<WeightRole, Tensor> ReadersAndWriters(int block) => ParameterCatalog.BlockParameters(Spec, block)
        .Where(part => !part.IsBias && GetInputSite(part.Role) is not null)
        .ToDictionary(part => part.Role, part => _model.Weight(part.Role, block).to(ScalarType.Float32, copy: true));

    /// <summary>Takes over weights of a block.</summary>
    public void Replace(int block, IReadOnlyDictionary<WeightRole, Tensor> weights)
    {
        foreach (var (role, value) in weights)
        {
            _model.Weight(role, block).copy_(value);
        }
    }

    /// <summary>Multiplies a block's weights by the plan's gains, as the cut does, and leaves its gates plainly open or closed: from here on its weights are those of the cut network.</summary>
    public void TakeOverGains(int block)
    {
        if (_plan.Scales is not { } gains)
        {
            return;
        }

        using var scope = NewDisposeScope();
        Tensor Of(SelectionSite site) => tensor(gains.ForSite(block, site).ToArray()).to(GetDevice(block));
        foreach (var part in ParameterCatalog.BlockParameters(Spec, block))
        {
            var cuts = PrunedAxes.For(part.Role);
            var target = part.IsBias ? _model.Bias(part.Role, block)! : _model.Weight(part.Role, block);
            if (cuts.ScaledRows is { } rows)
            {
                target.mul_(part.IsBias ? Of(rows) : Of(rows).unsqueeze(1));
            }

            if (cuts.InputSite is { } columns && !part.IsBias)
            {
                target.mul_(Of(columns));
            }
        }

        using var open = Gates.FromPlan(_plan with { Scales = null }, _model.Backend);
        foreach (var site in _model.GateLayout.Sites.Where(site => site.Block == block))
        {
            _gates.Values.narrow(0, site.Offset, site.Size).copy_(open.Values.narrow(0, site.Offset, site.Size));
        }
    }

    /// <summary>Passes the dense streams of the fitted windows through a block, whose weights have to be the dense ones still, and keeps what corrections aim at.</summary>
    public void TraceDense(int block, CancellationToken cancellation)
    {
        for (int i = 0; i < _dense.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Move(ref _dense[i], _model.Network.ForwardBlock(block, _dense[i], _traces[i].Passage()).DetachFromDisposeScope());
        }
    }

    /// <summary>Puts the fitted windows in front of a block's first weights, as they are in the cut network.</summary>
    public void Enter(int block)
    {
        Leave();
        var passage = _model.Network.GatedPolicyFor(block, _gates);
        foreach (var stream in _fitted)
        {
            _passing.Add(_model.Network.StageBlock(block, stream, passage));
        }
    }

    /// <summary>Passes the fitted windows through the weights that they are in front of, to the next ones.</summary>
    public void Step(CancellationToken cancellation)
    {
        foreach (var pass in _passing)
        {
            cancellation.ThrowIfCancellationRequested();
            pass.Step();
        }
    }

    /// <summary>
    /// What a correction of the weights that the fitted windows are in front of is computed from, as means over tokens in float32: the second moments
    /// <c>[kept, kept]</c> of their kept inputs in the network as cut so far, and for each weight those <c>[out, kept]</c> of what it shall give with them.
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

    /// <summary>The site that a weight reads at; attention's output projection reads, uncut, in front of the site that it writes at.</summary>
    public static SelectionSite? GetInputSite(WeightRole role) => role == WeightRole.AttentionOutput ? SelectionSite.AttentionOutput : PrunedAxes.For(role).InputSite;

    /// <summary>How many inputs a weight that reads at a site has in the dense network.</summary>
    public long InputSize(int block, SelectionSite site) => site == SelectionSite.AttentionOutput ? Spec.QuerySize : _model.GateLayout[block, site].Size;

    /// <summary>Where a block is computed.</summary>
    public Device GetDevice(int block) => _model.Backend.GetBlockDevice(block, Spec.NumLayers);

    /// <summary>Cross-entropy of the held-out windows, in nats a token, from the given block on.</summary>
    public double HeldOutLoss(int block, CancellationToken cancellation)
    {
        double sum = 0;
        int window = 0;
        foreach (var judged in _judged)
        {
            using var scope = NewDisposeScope();
            Tensor stream = judged;
            for (int next = block; next < Spec.NumLayers; next++)
            {
                cancellation.ThrowIfCancellationRequested();
                stream = _model.Network.ForwardBlock(next, stream, _model.Network.GatedPolicyFor(next, _gates));
            }

            // The vocabulary's logits are the widest there is: one window at a time.
            foreach (var row in stream.split(1))
            {
                using var head = NewDisposeScope();
                Tensor logits = _model.Network.ApplyLmHead(row);
                sum += CausalLmLoss.ComputeFromLogits(logits, _targets[window++].to(logits.device)).ReadDouble();
            }
        }

        return window == 0 ? 0 : sum / window;
    }

    /// <summary>Moves every window's stream behind the block; the fitted ones have to have entered it.</summary>
    public void Advance(int block, CancellationToken cancellation)
    {
        for (int i = 0; i < _fitted.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            Move(ref _fitted[i], _passing[i].Finish());
        }

        Leave();
        for (int i = 0; i < _judged.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Move(ref _judged[i], _model.Network.ForwardBlock(block, _judged[i], _model.Network.GatedPolicyFor(block, _gates)).DetachFromDisposeScope());
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave();
        foreach (var stream in _fitted.Concat(_judged).Concat(_dense))
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

    private static void Move(ref Tensor stream, Tensor behind)
    {
        stream.Dispose();
        stream = behind;
    }

    /// <summary>The streams <c>[windows, seq, d]</c> in front of the first block, of as many windows at a time as pass well together.</summary>
    private Tensor[] Streams(Tensor[] windows)
    {
        int together = (int)Math.Max(1, TokensTogether / windows.Select(window => window.shape[1]).FirstOrDefault(1));
        return [.. windows.Chunk(together).Select(chunk =>
        {
            using var scope = NewDisposeScope();
            Tensor tokens = cat(chunk);
            return _model.Network.Embed(tokens.narrow(1, 0, tokens.shape[1] - 1)).DetachFromDisposeScope();
        })];
    }

    /// <summary>Where the projection that reads at a site writes to the stream; null where it does not.</summary>
    private static SelectionSite? WrittenFrom(SelectionSite site) => site switch
    {
        SelectionSite.AttentionOutput => SelectionSite.AttentionOutput,
        SelectionSite.MlpHidden => SelectionSite.MlpOutput,
        _ => null,
    };
}
