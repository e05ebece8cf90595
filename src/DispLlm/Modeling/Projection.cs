using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm;

/// <summary>A linear projection: <c>[..., in] -> [..., out]</c>.</summary>
internal readonly record struct Projection(Tensor Weight, Tensor? Bias)
{
    public Tensor Apply(Tensor x) => functional.linear(x, Weight, Bias);
}

/// <summary>Queries, keys and values of all heads, each <c>[batch, heads, seq, head]</c>, however they are stored.</summary>
internal abstract class QueryKeyValueProjection
{
    public abstract (Tensor Query, Tensor Key, Tensor Value) Apply(Tensor x);

    public static QueryKeyValueProjection Of(DecoderSpec spec, DecoderWeights weights, int block) => spec.QueryKeyValueLayout switch
    {
        QueryKeyValueLayout.Separate => new ThreeProjections(
            spec,
            weights.Projection(WeightRole.Query, block),
            weights.Projection(WeightRole.Key, block),
            weights.Projection(WeightRole.Value, block)),
        QueryKeyValueLayout.FusedByHead => new OneProjection(spec, weights.Projection(WeightRole.QueryKeyValue, block)),
        _ => throw new InvalidOperationException($"Layout {spec.QueryKeyValueLayout} is not computed here."),
    };

    private sealed class ThreeProjections(DecoderSpec spec, Projection query, Projection key, Projection value) : QueryKeyValueProjection
    {
        public override (Tensor Query, Tensor Key, Tensor Value) Apply(Tensor x)
        {
            Tensor Heads(Projection projection, int heads) =>
                projection.Apply(x).view(x.shape[0], x.shape[1], heads, spec.HeadSize).transpose(1, 2);

            return (Heads(query, spec.Heads), Heads(key, spec.KeyValueHeads), Heads(value, spec.KeyValueHeads));
        }
    }

    private sealed class OneProjection(DecoderSpec spec, Projection all) : QueryKeyValueProjection
    {
        public override (Tensor Query, Tensor Key, Tensor Value) Apply(Tensor x)
        {
            Tensor heads = all.Apply(x).view(x.shape[0], x.shape[1], spec.Heads, 3 * spec.HeadSize).transpose(1, 2);
            Tensor Part(int index) => heads.narrow(-1, index * spec.HeadSize, spec.HeadSize);
            return (Part(0), Part(1), Part(2));
        }
    }
}
