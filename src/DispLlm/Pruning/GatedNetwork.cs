using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// A model under the gates of a plan, computed block by block on windows of text: what the compensation looks at and changes. It holds the stream of every
/// window in front of one block, and nothing behind it.
/// </summary>
internal sealed class GatedNetwork : IDisposable
{
    private readonly PrunableModel _model;
    private readonly Gates _gates;
    private readonly Tensor[] _fitted;
    private readonly Tensor[] _judged;
    private readonly Tensor[] _targets;

    /// <summary>Puts windows in front of the first block.</summary>
    /// <param name="model">A copy of the model that nobody else uses.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="windows">The windows to fit on, then those to judge by.</param>
    /// <param name="options">How many of each.</param>
    public GatedNetwork(PrunableModel model, SelectionPlan plan, Tensor[] windows, CompensationOptions options)
    {
        _model = model;
        _gates = Gates.Of(plan, model.Backend);
        Tensor[] streams = [.. windows.Select(window => model.Network.Enter(window.narrow(1, 0, window.shape[1] - 1)).DetachFromDisposeScope())];
        _fitted = streams[..options.Windows];
        _judged = streams[options.Windows..];
        _targets = [.. windows[options.Windows..].Select(window => window.narrow(1, 1, window.shape[1] - 1).reshape(-1))];
    }

    public DecoderSpec Spec => _model.Spec;

    public Tensor Weight(WeightRole role, int block) => _model.Weight(role, block);

    public void Replace(int block, IReadOnlyDictionary<WeightRole, Tensor> weights)
    {
        foreach (var (role, value) in weights)
        {
            _model.Weight(role, block).copy_(value);
        }
    }

    /// <summary>The second moments <c>[size, size]</c>, float32, of what stands in front of the gates of S1, S3 and S4, over the fitted windows.</summary>
    public IReadOnlyDictionary<SelectionSite, Tensor> SecondMoments(int block, CancellationToken cancellation)
    {
        var moments = new Dictionary<SelectionSite, Tensor>();
        foreach (var site in new[] { SelectionSite.AttentionInput, SelectionSite.MlpInput, SelectionSite.MlpHidden })
        {
            long size = _model.GateLayout[block, site].Size;
            moments[site] = zeros(size, size, ScalarType.Float32, _model.Backend.DeviceOfBlock(block, Spec.Blocks));
        }

        void Note(SelectionSite site, Tensor features)
        {
            if (moments.TryGetValue(site, out var sum))
            {
                Tensor rows = features.reshape(-1, features.shape[^1]).to(ScalarType.Float32);
                sum.addmm_(rows.t(), rows, 1, 1f / (rows.shape[0] * _fitted.Length));
            }
        }

        foreach (var stream in _fitted)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            _model.Network.Pass(block, stream, new ObservingPassage(_model.Network.PassageOf(block, _gates), Note));
        }

        return moments;
    }

    /// <summary>Cross-entropy of the held-out windows, in nats a token, from the given block on.</summary>
    public double HeldOutLoss(int block, CancellationToken cancellation)
    {
        double sum = 0;
        for (int i = 0; i < _judged.Length; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor stream = _judged[i];
            for (int next = block; next < Spec.Blocks; next++)
            {
                stream = _model.Network.Pass(next, stream, _model.Network.PassageOf(next, _gates));
            }

            Tensor logits = _model.Network.LogitsOf(stream);
            sum += nn.functional.cross_entropy(logits.view(-1, logits.shape[^1]).to(ScalarType.Float32), _targets[i].to(logits.device)).ToDouble();
        }

        return sum / _judged.Length;
    }

    /// <summary>Moves every window's stream behind a block.</summary>
    public void Advance(int block, CancellationToken cancellation)
    {
        foreach (var streams in new[] { _fitted, _judged })
        {
            for (int i = 0; i < streams.Length; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                Tensor behind = _model.Network.Pass(block, streams[i], _model.Network.PassageOf(block, _gates));
                streams[i].Dispose();
                streams[i] = behind.DetachFromDisposeScope();
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var stream in _fitted.Concat(_judged))
        {
            stream.Dispose();
        }

        _gates.Values.Dispose();
    }
}
