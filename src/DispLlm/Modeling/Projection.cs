using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm;

/// <summary>A linear projection: <c>[..., in] -> [..., out]</c>.</summary>
internal readonly record struct Projection(Tensor Weight, Tensor? Bias)
{
    public Tensor Apply(Tensor x) => Apply(x, [this])[0];

    /// <summary>Several projections of the same input.</summary>
    public static Tensor[] Apply(Tensor x, params ReadOnlySpan<Projection> projections)
    {
        var results = new Tensor[projections.Length];
        if (FewRowProduct.Takes(x))
        {
            var parts = new (Tensor, Tensor?)[projections.Length];
            for (int i = 0; i < parts.Length; i++)
            {
                parts[i] = (projections[i].Weight, projections[i].Bias);
            }

            return FewRowProduct.Apply(x, parts);
        }

        for (int i = 0; i < results.Length; i++)
        {
            results[i] = functional.linear(x, projections[i].Weight, projections[i].Bias);
        }

        return results;
    }
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
            long batch = x.size(0), length = x.size(1);
            Tensor Heads(Tensor all, int heads) => all.view(batch, length, heads, spec.HeadSize).transpose(1, 2);

            Tensor[] all = Projection.Apply(x, query, key, value);
            return (Heads(all[0], spec.Heads), Heads(all[1], spec.KeyValueHeads), Heads(all[2], spec.KeyValueHeads));
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
