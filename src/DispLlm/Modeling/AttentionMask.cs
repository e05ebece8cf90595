using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>Which positions the tokens of one forward pass attend to: with each sliding window of the model, and without.</summary>
/// <param name="create">Creates the mask <c>[batch or 1, 1, seq, positions]</c>, bool, of a window in tokens; null for no window.</param>
internal sealed class AttentionMask(Func<long?, Tensor> create) : IDisposable
{
    private readonly List<(long? Window, PerDevice Mask)> _masks = [];

    /// <summary>Whether each token attends to all tokens before it and itself, padding excluded, where there is no window.</summary>
    public bool IsCausal { get; private init; }

    /// <summary>A causal mask.</summary>
    /// <param name="first">The column of the first token: the number of columns in the cache.</param>
    /// <param name="length">Number of tokens in each row.</param>
    /// <param name="padding">Padding columns at the front of each row; null where no row has any.</param>
    public static AttentionMask Causal(long first, long length, IReadOnlyList<int>? padding) => new(window =>
    {
        Tensor columns = ScalarOps.Arange(first, first + length).view(1, -1, 1), seen = ScalarOps.Arange(0, first + length).view(1, 1, -1);
        Tensor before = seen <= columns;
        if (window is { } newest)
        {
            before = before.logical_and(seen > columns.AddScalar(-newest));
        }

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

    /// <summary>A given mask, <c>[batch, seq, seq]</c>, bool, of tokens at given positions, <c>[batch, seq]</c>.</summary>
    public static AttentionMask FromTensor(Tensor mask, Tensor positions) => new(window => window is { } newest
        ? mask.logical_and(positions.unsqueeze(1) > positions.unsqueeze(2).AddScalar(-newest)).unsqueeze(1)
        : mask.unsqueeze(1));

    /// <summary>The mask <c>[batch or 1, 1, seq, positions]</c>, bool.</summary>
    /// <param name="device">Where it is wanted.</param>
    /// <param name="window">How many tokens each attends to, itself and those just before it; null for all.</param>
    public Tensor On(Device device, long? window)
    {
        var known = _masks.Find(entry => entry.Window == window).Mask;
        if (known is null)
        {
            _masks.Add((window, known = new PerDevice(() => create(window))));
        }

        return known.On(device);
    }

    /// <summary>Padding counts as a column, <c>[batch, 1]</c>, int64.</summary>
    public static Tensor Column(IReadOnlyList<int> padding) =>
        tensor(padding.Select(count => (long)count).ToArray(), ScalarType.Int64).unsqueeze(1);

    public void Dispose() => _masks.ForEach(entry => entry.Mask.Dispose());
}
