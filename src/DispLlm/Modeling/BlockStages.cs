using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// The way of a stream through one block, held in front of each of the weights: what they read is there to look at, and they may still change.
/// In four steps: query, key and value; attention's output; gate and up; down.
/// </summary>
internal sealed class BlockStages : IDisposable
{
    private readonly DecoderBlock _block;
    private readonly SitePolicy _passage;
    private readonly Tensor _stream;
    private Tensor _features;
    private Tensor? _attended;
    private SelectionSite? _site = SelectionSite.AttentionInput;

    /// <summary>In front of the block's first weights.</summary>
    /// <param name="block">The block.</param>
    /// <param name="stream">The stream in front of it, <c>[batch, seq, d]</c>, where the block is. It is not changed.</param>
    /// <param name="passage">How the stream enters and leaves.</param>
    public BlockStages(DecoderBlock block, Tensor stream, SitePolicy passage)
    {
        (_block, _passage) = (block, passage);
        _stream = Held(() => stream);
        _features = Held(() => block.EnterAttention(stream, passage));
    }

    /// <summary>What the weights that come next read, in front of any gate: <c>[batch, seq, features]</c>; behind the last step the stream behind the block.</summary>
    public Tensor Features => _features;

    /// <summary>The stream that the sublayer's output will be added to.</summary>
    public Tensor Stream => _attended ?? _stream;

    /// <summary>Computes with the weights that come next. Does nothing behind the last step.</summary>
    public void Step()
    {
        switch (_site)
        {
            case SelectionSite.AttentionInput:
                using (var window = new ForwardContext(_stream.shape[1], null))
                {
                    Take(() => _block.Mixed(_features, _passage, window), SelectionSite.AttentionOutput);
                }

                break;
            case SelectionSite.AttentionOutput:
                _attended = Held(() => _block.LeaveAttention(_stream, _features, _passage));
                Take(() => _block.EnterMlp(_stream, _attended, _passage), SelectionSite.MlpInput);
                break;
            case SelectionSite.MlpInput:
                Take(() => _block.Hidden(_features, _passage), SelectionSite.MlpHidden);
                break;
            case SelectionSite.MlpHidden:
                Take(() => _block.LeaveMlp(_attended!, _features, _passage), null);
                break;
        }
    }

    /// <summary>Takes the steps that are left. The caller disposes the stream <c>[batch, seq, d]</c> behind the block.</summary>
    public Tensor Finish()
    {
        while (_site is not null)
        {
            Step();
        }

        return _features.alias().DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream.Dispose();
        _features.Dispose();
        _attended?.Dispose();
    }

    private void Take(Func<Tensor> compute, SelectionSite? next)
    {
        Tensor features = Held(compute);
        _features.Dispose();
        (_features, _site) = (features, next);
    }

    // Under another name: what is computed may be the caller's own tensor.
    private static Tensor Held(Func<Tensor> compute)
    {
        using var scope = NewDisposeScope();
        return compute().alias().DetachFromDisposeScope();
    }
}
