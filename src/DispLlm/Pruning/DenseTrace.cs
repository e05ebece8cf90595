using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>What corrections aim at: what a block of the dense network reads, and what it makes of the stream, in one window.</summary>
/// <param name="target">What corrections aim at; what it does not need is not kept.</param>
internal sealed class DenseTrace(ReconstructionTarget target) : IDisposable
{
    private readonly Dictionary<SelectionSite, Tensor> _read = [];
    private readonly Dictionary<SelectionSite, Tensor> _before = [];
    private readonly Dictionary<SelectionSite, Tensor> _behind = [];

    /// <summary>A way through a dense block that keeps its trace here, in place of the block's before.</summary>
    public SitePolicy Passage()
    {
        Dispose();
        return new ObservingPolicy
        {
            OnInput = (site, features) =>
            {
                if (target != ReconstructionTarget.PrunedActivations && site is SelectionSite.AttentionInput or SelectionSite.MlpInput)
                {
                    _read[site] = Kept(features);
                }
            },
            OnResidualBefore = (site, stream) =>
            {
                if (target == ReconstructionTarget.DenseActivations)
                {
                    _before[site] = Kept(stream);
                }
            },
            OnResidualAfter = (site, stream) => _behind[site] = Kept(stream),
        };
    }

    /// <summary>What readers shall see at S1 or S3, <c>[tokens, d]</c>, where it is not what they see in the cut network.</summary>
    public Tensor Read(SelectionSite site) => _read[site];

    /// <summary>What shall be written at S2 or S5, <c>[tokens, d]</c>, onto what the stream is there in the cut network.</summary>
    public Tensor Written(SelectionSite site, Tensor before) =>
        _behind[site] - (target == ReconstructionTarget.DenseResidualStream ? before : _before[site]);

    /// <summary>
    /// The square root of what each token counts at S2 or S5, <c>[tokens, 1]</c>: what is written is read through a norm, so that a loud
    /// token counts no more than others.
    /// </summary>
    public Tensor TokenWeight(SelectionSite site) => _behind[site].PowScalar(2).mean([1L], keepdim: true).rsqrt();

    /// <summary>Features <c>[batch, seq, features]</c> as <c>[tokens, features]</c>, float32.</summary>
    public static Tensor Rows(Tensor features) => Projection.Rows(features).to(ScalarType.Float32);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var kept in new[] { _read, _before, _behind })
        {
            foreach (var tensor in kept.Values)
            {
                tensor.Dispose();
            }

            kept.Clear();
        }
    }

    private static Tensor Kept(Tensor features) => Rows(features).clone().DetachFromDisposeScope();
}
