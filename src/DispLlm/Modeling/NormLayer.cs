using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// A norm over the last dimension. Statistics are computed in float32 whatever the compute type: squares of bfloat16 numbers lose too much.
/// </summary>
internal abstract class NormLayer
{
    /// <summary>The norm over all features of <c>[..., d]</c>.</summary>
    public abstract Tensor Apply(Tensor x);

    /// <summary>NormThenSelect in the pruned network: the selected features of the norm over all.</summary>
    public abstract Tensor ApplyThenSelect(Tensor x, Tensor index);

    /// <summary>SelectThenNorm in the pruned network: the norm over the selected features only.</summary>
    public abstract Tensor ApplyToSelected(Tensor x, Tensor index);

    /// <summary>
    /// SelectThenNorm in the gated network: the gated features of the norm over those that are open. Differentiable in the gate.
    /// </summary>
    public Tensor ApplyToGated(Tensor x, Tensor gate) => ApplyOverGated(x, gate) * gate.to(x.dtype);

    /// <summary>
    /// The norm of all features, with the statistics of those that are open: sums run over gated features and are divided by how many gates
    /// are open. Differentiable in the gate.
    /// </summary>
    public abstract Tensor ApplyOverGated(Tensor x, Tensor gate);

    public static NormLayer Create(DecoderSpec spec, Tensor weight, Tensor? bias) => spec.Norm switch
    {
        NormKind.RmsNorm => new RootMeanSquareNorm(weight, spec.NormEpsilon),
        NormKind.LayerNorm => new MeanVarianceNorm(weight, bias, spec.NormEpsilon),
        _ => throw new InvalidOperationException($"Norm {spec.Norm} is not supported."),
    };

    // A norm of one sublayer is stored cut; one that both sublayers read, and one of an older folder, is whole.
    private static Tensor Select(Tensor weight, Tensor index) =>
        weight.shape[0] == index.shape[0] ? weight : weight.index_select(0, index);

    // A sample may close every gate of a site: the result is 0 then, not 0 / 0.
    private static Tensor Open(Tensor gate) => gate.sum().ClampMin(1e-6);

    private sealed class RootMeanSquareNorm(Tensor weight, double epsilon) : NormLayer
    {
        public override Tensor Apply(Tensor x) => RowKernels.For(x, weight) is not { } kernels ? Norm(x, weight)
            : x.requires_grad ? RmsNormFunction.Apply(x, weight, epsilon)
            : kernels.Norm(x, weight, null, false, epsilon, null);

        public override Tensor ApplyThenSelect(Tensor x, Tensor index) =>
            RowKernels.WithoutGradient(x, weight)?.Norm(x, weight, null, false, epsilon, index) ?? Norm(x, weight).index_select(-1, index);

        public override Tensor ApplyToSelected(Tensor x, Tensor index) => Norm(x.index_select(-1, index), Select(weight, index));

        public override Tensor ApplyOverGated(Tensor x, Tensor gate)
        {
            Tensor wide = x.to(ScalarType.Float32);
            Tensor meanSquare = (wide * gate).PowScalar(2).sum(-1, keepdim: true) / Open(gate);
            return (wide * meanSquare.AddScalar(epsilon).rsqrt()).to(x.dtype) * weight;
        }

        private Tensor Norm(Tensor x, Tensor weight)
        {
            if (x.device.IsAccelerator())
            {
                return TorchScriptKernels.RootMeanSquareNorm(x, weight, epsilon);
            }

            Tensor wide = x.to(ScalarType.Float32);
            Tensor meanSquare = wide.PowScalar(2).mean([-1L], keepdim: true);
            return (wide * meanSquare.AddScalar(epsilon).rsqrt()).to(x.dtype) * weight;
        }
    }

    private sealed class MeanVarianceNorm(Tensor weight, Tensor? bias, double epsilon) : NormLayer
    {
        public override Tensor Apply(Tensor x) => DeviceKernels.LayerNorm(x, weight, bias, epsilon);

        public override Tensor ApplyThenSelect(Tensor x, Tensor index) =>
            RowKernels.WithoutGradient(x, weight)?.Norm(x, weight, bias, true, epsilon, index) ?? Apply(x).index_select(-1, index);

        public override Tensor ApplyToSelected(Tensor x, Tensor index) => DeviceKernels.LayerNorm(
            x.index_select(-1, index), Select(weight, index), bias is null ? null : Select(bias, index), epsilon);

        public override Tensor ApplyOverGated(Tensor x, Tensor gate)
        {
            Tensor wide = x.to(ScalarType.Float32);
            Tensor open = Open(gate);
            Tensor centred = wide - ((wide * gate).sum(-1, keepdim: true) / open);
            Tensor variance = (centred * gate).PowScalar(2).sum(-1, keepdim: true) / open;
            Tensor scaled = (centred * variance.AddScalar(epsilon).rsqrt()).to(x.dtype) * weight;
            return bias is null ? scaled : scaled.Add(bias);
        }
    }
}
