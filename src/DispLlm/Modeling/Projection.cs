using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>A linear projection: <c>[..., in] -> [..., out]</c>.</summary>
internal readonly record struct Projection(Tensor Weight, Tensor? Bias)
{
    public Tensor Apply(Tensor x) => Apply(x, [this])[0];

    /// <summary>Several projections of the same input.</summary>
    public static Tensor[] Apply(Tensor x, params ReadOnlySpan<Projection> projections)
    {
        var parts = new (Tensor Weight, Tensor? Bias)[projections.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            parts[i] = (projections[i].Weight, projections[i].Bias);
        }

        return DeviceKernels.Linear(x, parts);
    }

    /// <summary>The projection of some of its inputs only; of all where <paramref name="columns"/> is null.</summary>
    public Projection OnColumns(Tensor? columns) => columns is null ? this : this with { Weight = DeviceKernels.Columns(Weight, columns) };

    /// <summary><c>[..., features]</c> as a matrix <c>[tokens, features]</c>.</summary>
    public static Tensor Rows(Tensor x) => x.reshape(-1, x.shape[^1]);
}
