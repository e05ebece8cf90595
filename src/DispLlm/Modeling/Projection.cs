using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>A linear projection: <c>[..., in] -> [..., out]</c>.</summary>
internal readonly record struct Projection(Tensor Weight, Tensor? Bias)
{
    public Tensor Apply(Tensor x) => Apply(x, [this])[0];

    /// <summary>The same in the CPU's memory, if weights <see cref="LieInHostMemory"/>.</summary>
    public HostLinear InHostMemory => HostLinear.FromTensors(Weight, Bias);

    /// <summary>Whether the weights of some projections are all in the CPU's memory, in one type and without gradient.</summary>
    public static bool LieInHostMemory(params ReadOnlySpan<Projection> projections)
    {
        var tensors = new List<Tensor>();
        foreach (var (weight, bias) in projections)
        {
            tensors.AddRange(bias is null ? [weight] : [weight, bias]);
        }

        return HostMatrix.IsContiguousHostWithoutGradient([.. tensors]);
    }

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

/// <summary>Queries, keys and values of all heads, each <c>[batch, heads, seq, head]</c>, however they are stored.</summary>
internal abstract class QueryKeyValueProjection
{
    /// <summary>The projections that read the stream.</summary>
    public abstract IReadOnlyList<Projection> Readers { get; }

    /// <summary>Queries, keys and values in what the readers gave, <c>[batch, seq, out]</c> each.</summary>
    public abstract (Tensor Query, Tensor Key, Tensor Value) Split(IReadOnlyList<Tensor> read);

    public static QueryKeyValueProjection Create(DecoderSpec spec, DecoderWeights weights, int block) => spec.QueryKeyValueLayout switch
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
        public override IReadOnlyList<Projection> Readers { get; } = [query, key, value];

        public override (Tensor Query, Tensor Key, Tensor Value) Split(IReadOnlyList<Tensor> read)
        {
            long batch = read[0].size(0), length = read[0].size(1);
            Tensor Heads(Tensor x, int heads) => x.view(batch, length, heads, spec.HeadDim).transpose(1, 2);

            return (Heads(read[0], spec.NumAttentionHeads), Heads(read[1], spec.NumKeyValueHeads), Heads(read[2], spec.NumKeyValueHeads));
        }
    }

    private sealed class OneProjection(DecoderSpec spec, Projection all) : QueryKeyValueProjection
    {
        public override IReadOnlyList<Projection> Readers { get; } = [all];

        public override (Tensor Query, Tensor Key, Tensor Value) Split(IReadOnlyList<Tensor> read)
        {
            Tensor heads = read[0].view(read[0].shape[0], read[0].shape[1], spec.NumAttentionHeads, 3 * spec.HeadDim).transpose(1, 2);
            Tensor Part(int index) => heads.narrow(-1, index * spec.HeadDim, spec.HeadDim);
            return (Part(0), Part(1), Part(2));
        }
    }
}
