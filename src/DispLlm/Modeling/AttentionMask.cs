using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>Which positions the tokens of one forward pass attend to.</summary>
internal sealed class AttentionMask : IDisposable
{
    private readonly PerDevice? _mask;

    private AttentionMask(Func<Tensor>? create) => _mask = create is null ? null : new PerDevice(create);

    /// <summary>Whether each token attends to all tokens before it and itself, padding excluded.</summary>
    public bool IsCausal { get; private init; }

    /// <summary>A causal mask.</summary>
    /// <param name="first">The column of the first token: the number of columns in the cache.</param>
    /// <param name="length">Number of tokens in each row.</param>
    /// <param name="padding">Padding columns at the front of each row; null where no row has any.</param>
    public static AttentionMask Causal(long first, long length, IReadOnlyList<int>? padding) => new(
        padding is null && length == 1 ? null : () =>
    {
        Tensor columns = ScalarOps.Arange(first, first + length).view(1, -1, 1), seen = ScalarOps.Arange(0, first + length).view(1, 1, -1);
        Tensor before = seen <= columns;
        if (padding is null)
        {
            return before.unsqueeze(1);
        }

        // A padding token attends to itself: a row that attends to nothing would be 0 / 0.
        Tensor real = seen >= Column(padding).unsqueeze(2);
        return before.logical_and(real.logical_or(seen == columns)).unsqueeze(1);
    })
    {
        IsCausal = true,
    };

    /// <summary>A given mask, <c>[batch, seq, seq]</c>, bool.</summary>
    public static AttentionMask FromTensor(Tensor mask) => new(() => mask.unsqueeze(1));

    /// <summary>The mask <c>[batch or 1, 1, seq, positions]</c>, bool; null where tokens attend to all positions.</summary>
    public Tensor? On(Device device) => _mask?.On(device);

    /// <summary>Padding counts as a column, <c>[batch, 1]</c>, int64.</summary>
    public static Tensor Column(IReadOnlyList<int> padding) =>
        tensor(padding.Select(count => (long)count).ToArray(), ScalarType.Int64).unsqueeze(1);

    public void Dispose() => _mask?.Dispose();
}
