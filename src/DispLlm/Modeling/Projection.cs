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

/// <summary>Queries, keys and values of all heads, <c>[batch, heads, seq, head_dim]</c> each, from separate weights or from a fused
/// one.</summary>
internal abstract class QueryKeyValueProjection
{
    /// <summary>The projections of the residual stream.</summary>
    public abstract IReadOnlyList<Projection> Projections { get; }

    /// <summary>Queries, keys and values of all heads.</summary>
    /// <param name="projected">The results of <see cref="Projections"/>, <c>[batch, seq, out]</c> each.</param>
    public abstract (Tensor Query, Tensor Key, Tensor Value) Split(IReadOnlyList<Tensor> projected);

    public static QueryKeyValueProjection Create(DecoderSpec spec, DecoderWeights weights, int block) => spec.QueryKeyValueLayout switch
    {
        QueryKeyValueLayout.Separate => new SeparateProjections(
            spec,
            weights.Projection(WeightRole.Query, block),
            weights.Projection(WeightRole.Key, block),
            weights.Projection(WeightRole.Value, block)),
        QueryKeyValueLayout.FusedByHead => new FusedProjection(spec, weights.Projection(WeightRole.QueryKeyValue, block)),
        _ => throw new InvalidOperationException($"Layout {spec.QueryKeyValueLayout} is not supported."),
    };

    private sealed class SeparateProjections(DecoderSpec spec, Projection query, Projection key, Projection value) : QueryKeyValueProjection
    {
        public override IReadOnlyList<Projection> Projections { get; } = [query, key, value];

        public override (Tensor Query, Tensor Key, Tensor Value) Split(IReadOnlyList<Tensor> projected)
        {
            long batch = projected[0].size(0), length = projected[0].size(1);
            Tensor Heads(Tensor x, int heads) => x.view(batch, length, heads, spec.HeadDim).transpose(1, 2);

            return (Heads(projected[0], spec.NumAttentionHeads), Heads(projected[1], spec.NumKeyValueHeads),
                Heads(projected[2], spec.NumKeyValueHeads));
        }
    }

    private sealed class FusedProjection(DecoderSpec spec, Projection all) : QueryKeyValueProjection
    {
        public override IReadOnlyList<Projection> Projections { get; } = [all];

        public override (Tensor Query, Tensor Key, Tensor Value) Split(IReadOnlyList<Tensor> projected)
        {
            Tensor heads =
                projected[0].view(projected[0].shape[0], projected[0].shape[1], spec.NumAttentionHeads, 3 * spec.HeadDim).transpose(1, 2);
            Tensor Part(int index) => heads.narrow(-1, index * spec.HeadDim, spec.HeadDim);
            return (Part(0), Part(1), Part(2));
        }
    }
}
