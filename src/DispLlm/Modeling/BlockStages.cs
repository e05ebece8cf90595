using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// The forward pass of one block in four stages: query, key and value; attention's output; gate and up; down. Before each stage its input
/// can be read, and its
/// weights may still change.
/// </summary>
internal sealed class BlockStages : IDisposable
{
    private readonly DecoderBlock _block;
    private readonly SitePolicy _policy;
    private readonly Tensor _hidden;
    private Tensor _features;
    private Tensor? _attended;
    private SelectionSite? _site = SelectionSite.AttentionInput;

    /// <summary>Starts before the first stage.</summary>
    /// <param name="block">The block.</param>
    /// <param name="hidden">The input of the block, <c>[batch, seq, d]</c>, on its device. It is not changed.</param>
    /// <param name="policy">How sublayers read and write the residual stream.</param>
    public BlockStages(DecoderBlock block, Tensor hidden, SitePolicy policy)
    {
        (_block, _policy) = (block, policy);
        _hidden = Keep(() => hidden);
        _features = Keep(() => block.AttentionInput(hidden, policy));
    }

    /// <summary>The input of the next stage's weights, before any gate, <c>[batch, seq, features]</c>; after the last stage the output of
    /// the block.</summary>
    public Tensor Features => _features;

    /// <summary>The residual stream that the sublayer's output will be added to.</summary>
    public Tensor Stream => _attended ?? _hidden;

    /// <summary>Computes the next stage. Does nothing after the last one.</summary>
    public void Step()
    {
        switch (_site)
        {
            case SelectionSite.AttentionInput:
                using (var context = new ForwardContext(_hidden.shape[1], null))
                {
                    Advance(() => _block.Attend(_features, _policy, context), SelectionSite.AttentionGroups);
                }

                break;
            case SelectionSite.AttentionGroups:
                _attended = Keep(() => _block.AddAttentionOutput(_hidden, _features, _policy));
                Advance(() => _block.MlpInput(_hidden, _attended, _policy), SelectionSite.MlpInput);
                break;
            case SelectionSite.MlpInput:
                Advance(() => _block.MlpHidden(_features, _policy), SelectionSite.MlpHidden);
                break;
            case SelectionSite.MlpHidden:
                Advance(() => _block.AddMlpOutput(_attended!, _features, _policy), null);
                break;
        }
    }

    /// <summary>Computes the remaining stages and returns the output of the block, <c>[batch, seq, d]</c>. The caller disposes
    /// it.</summary>
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
        _hidden.Dispose();
        _features.Dispose();
        _attended?.Dispose();
    }

    private void Advance(Func<Tensor> compute, SelectionSite? next)
    {
        Tensor features = Keep(compute);
        _features.Dispose();
        (_features, _site) = (features, next);
    }

    // As an alias: the result may be the caller's own tensor.
    private static Tensor Keep(Func<Tensor> compute)
    {
        using var scope = NewDisposeScope();
        return compute().alias().DetachFromDisposeScope();
    }
}
