using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>The target of weight reconstruction for one block and one sequence: its inputs in the dense network, and its outputs.</summary>
/// <param name="target">The target; only the activations that it needs are saved.</param>
/// <param name="spec">The model's spec.</param>
internal sealed class DenseTrace(ReconstructionTarget target, DecoderSpec spec) : IDisposable
{
    private readonly Dictionary<SelectionSite, Tensor> _read = [];
    private readonly Dictionary<SelectionSite, Tensor> _projected = [];
    private readonly Dictionary<SelectionSite, Tensor> _before = [];
    private readonly Dictionary<SelectionSite, Tensor> _after = [];

    /// <summary>A dense policy that saves its trace here; the trace of the block before is dropped.</summary>
    public SitePolicy CreatePolicy()
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
            OnProjected = (site, projected) =>
            {
                if (target != ReconstructionTarget.PrunedActivations && spec.HasOutputNorms)
                {
                    _projected[site] = Kept(projected);
                }
            },
            OnResidualBefore = (site, stream) =>
            {
                if (target == ReconstructionTarget.DenseActivations && !spec.HasOutputNorms)
                {
                    _before[site] = Kept(stream);
                }
            },
            OnResidualAfter = (site, stream) => _after[site] = Kept(stream),
        };
    }

    /// <summary>The target input at S1 or S3, <c>[tokens, d]</c>.</summary>
    public Tensor Read(SelectionSite site) => _read[site];

    /// <summary>
    /// The target of a projection at S2 or S5, <c>[tokens, d]</c>: what it adds to the residual stream of the pruned network. Before a
    /// norm it can only aim at what the dense projection gives.
    /// </summary>
    public Tensor Written(SelectionSite site, Tensor before)
    {
        if (spec.HasOutputNorms)
        {
            return _projected[site];
        }

        Tensor written = _after[site] - (target == ReconstructionTarget.DenseResidualStream ? before : _before[site]);
        return spec.ResidualScale == 1 ? written : written.MulScalar(1 / spec.ResidualScale);
    }

    /// <summary>
    /// The square root of the weight of each token at S2 or S5, <c>[tokens, 1]</c>: a norm follows, so a token with large activations
    /// counts no more than others.
    /// </summary>
    public Tensor TokenWeight(SelectionSite site) => _after[site].PowScalar(2).mean([1L], keepdim: true).rsqrt();

    /// <summary>Features <c>[batch, seq, features]</c> as <c>[tokens, features]</c>, float32.</summary>
    public static Tensor Rows(Tensor features) => Projection.Rows(features).to(ScalarType.Float32);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var kept in new[] { _read, _projected, _before, _after })
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
