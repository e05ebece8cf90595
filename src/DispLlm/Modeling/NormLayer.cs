using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// The norm in front of a sublayer. Statistics are taken in float32 whatever the compute type: squares of bfloat16 numbers lose too much.
/// </summary>
internal sealed class NormLayer(Tensor weight, double epsilon)
{
    /// <summary>The norm over all features of <c>[..., d]</c>.</summary>
    public Tensor Apply(Tensor x) => RootMeanSquare(x, weight);

    /// <summary>SelectThenNorm in the pruned network: the norm over the selected features only.</summary>
    public Tensor ApplyToSelected(Tensor x, Tensor index) => RootMeanSquare(x.index_select(-1, index), weight.index_select(0, index));

    /// <summary>
    /// SelectThenNorm in the gated network: sums run over gated features and are divided by how many gates are open,
    /// so that closed features neither appear nor count. Differentiable in the gate.
    /// </summary>
    public Tensor ApplyToGated(Tensor x, Tensor gate)
    {
        Tensor gated = x.to(ScalarType.Float32) * gate;
        Tensor meanSquare = gated.pow(2).sum(-1, keepdim: true) / gate.sum();
        Tensor normed = gated * (meanSquare + epsilon).rsqrt();
        return normed.to(x.dtype) * weight * gate.to(x.dtype);
    }

    private Tensor RootMeanSquare(Tensor x, Tensor weight)
    {
        Tensor wide = x.to(ScalarType.Float32);
        Tensor meanSquare = wide.pow(2).mean([-1L], keepdim: true);
        return (wide * (meanSquare + epsilon).rsqrt()).to(x.dtype) * weight;
    }
}
