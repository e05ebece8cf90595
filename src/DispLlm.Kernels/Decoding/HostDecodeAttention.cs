using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>Attention of one decode step in host memory.</summary>
/// <param name="position">The position of the step's token, padding included.</param>
/// <param name="padding">Padding positions at the front of each row; null where no row has any.</param>
/// <param name="mask"><c>[batch, 1, 1, position + 1]</c>, bool; null to attend to all positions.</param>
internal sealed class HostDecodeAttention(long position, IReadOnlyList<int>? padding, Tensor? mask) : IDecodeAttention
{
    /// <inheritdoc/>
    public Tensor Attend(Tensor query, Tensor key, Tensor value, (Tensor Cosine, Tensor Sine)? rotary, (Tensor Key, Tensor Value) held)
    {
        (query, key, value) = (Contiguous(query), Contiguous(key), Contiguous(value));
        Tensor result = DeviceKernels.EmptyLike(query, query.size(-1));
        HostMatrix queries = HostMatrix.FromTensor(query), keys = HostMatrix.FromTensor(key);
        var caches = (Keys: HostHeads.FromTensor(held.Key), Values: HostHeads.FromTensor(held.Value));
        (HostMatrix Cosine, HostMatrix Sine)? ofAllRows = null;
        if (rotary is var (cosine, sine))
        {
            HostMatrix cosines = HostMatrix.FromTensor(cosine), sines = HostMatrix.FromTensor(sine);
            ofAllRows = padding is null ? (cosines.Row(position), sines.Row(position)) : null;
            for (int row = 0; row < (padding?.Count ?? 0); row++)
            {
                long id = Math.Max(0, position - padding![row]);
                RotaryKernel.Apply(queries.Row(row), caches.Keys.Size, cosines.Row(id), sines.Row(id), inverse: false);
                RotaryKernel.Apply(keys.Row(row), caches.Keys.Size, cosines.Row(id), sines.Row(id), inverse: false);
            }
        }

        var place = new DecodePosition(ofAllRows, position + 1, mask) { Held = caches };
        DecodeAttention.Apply(queries, keys, HostMatrix.FromTensor(value), place, HostMatrix.FromTensor(result));
        GC.KeepAlive(query);
        GC.KeepAlive(key);
        GC.KeepAlive(value);
        GC.KeepAlive(rotary);
        GC.KeepAlive(mask);
        return result;
    }

    private static Tensor Contiguous(Tensor x) => x.is_contiguous() ? x : x.contiguous();
}
