using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The norm of queries or of keys, before they are split into heads and rotated.</summary>
/// <param name="spec">The model's spec.</param>
/// <param name="weight"><c>[head_dim]</c>, or <c>[heads x head_dim]</c>.</param>
/// <param name="bias">Of the same shape; null for none.</param>
internal sealed class HeadNorm(DecoderSpec spec, Tensor weight, Tensor? bias)
{
    private readonly NormLayer _norm = NormLayer.Create(spec, weight, bias);

    /// <summary>The norm of a projection <c>[batch, seq, heads x head_dim]</c>.</summary>
    /// <param name="projected">The projection.</param>
    /// <param name="groups">
    /// A gate for each key-value head: where all heads are normed together, those of closed groups do not count. Null for all open.
    /// </param>
    public Tensor Apply(Tensor projected, Tensor? groups) => spec.QueryKeyNorm switch
    {
        QueryKeyNorm.AllHeads when groups is not null =>
            _norm.ApplyOverGated(projected, SiteGates.ForFeatures(groups, projected.size(-1))),
        QueryKeyNorm.AllHeads => _norm.Apply(projected),
        QueryKeyNorm.PerHead => PerHead(Heads(projected)).flatten(2),
        _ => _norm.Apply(Heads(projected)).flatten(2),
    };

    private Tensor Heads(Tensor projected) => projected.view(projected.size(0), projected.size(1), -1, spec.HeadDim);

    private Tensor PerHead(Tensor heads)
    {
        Tensor wide = heads.to(ScalarType.Float32);
        wide = spec.Norm == NormKind.LayerNorm ? wide - wide.mean([-1L], keepdim: true) : wide;
        Tensor normed = wide * wide.PowScalar(2).mean([-1L], keepdim: true).AddScalar(spec.NormEpsilon).rsqrt();
        Tensor scaled = normed.to(heads.dtype) * weight.view(-1, spec.HeadDim);
        return bias is null ? scaled : scaled.Add(bias.view(-1, spec.HeadDim));
    }
}
