using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Inference;

/// <summary>One use of a model: prefill, or decode steps after a prompt.</summary>
/// <param name="Batch">Number of texts.</param>
/// <param name="Length">Tokens of each in one forward pass: 1 in a decode step.</param>
/// <param name="Before">Tokens before them, in the cache.</param>
internal sealed record Case(int Batch, int Length, int Before)
{
    public bool Decodes => Length == 1;

    public static Case Named(string name, int prompt)
    {
        int[] Numbers(string prefix) => !name.StartsWith(prefix, StringComparison.Ordinal)
            ? []
            : [.. name[prefix.Length..].Split('x').Select(number => int.Parse(number, CultureInfo.InvariantCulture))];
        return (Numbers("prefill"), Numbers("decode")) switch
        {
            ([var length], _) => new Case(1, length, 0),
            ([var length, var batch], _) => new Case(batch, length, 0),
            (_, [var batch]) => new Case(batch, 1, prompt),
            _ => throw new ArgumentException($"There is no case {name}."),
        };
    }

    public override string ToString() => Decodes
        ? $"decode, batch {Batch}"
        : (Batch == 1 ? "prefill " : $"prefill {Batch} x ") + $"{Length.ToString("N0", CultureInfo.InvariantCulture)}";

    /// <summary>Multiplications of a forward pass in a block of so many weights, attention included.</summary>
    public double Operations(DecoderSpec spec, long weights)
    {
        double seen = Before + ((Length + 1) / 2.0);
        return (double)Batch * Length * (weights + (2 * spec.QuerySize * seen));
    }

    /// <summary>Fills a cache with the prompt, and returns one turn of the model. The caller disposes the cache.</summary>
    public (Action Turn, KeyValueCache Cache) Prepare(PrunableModel model, int tokens)
    {
        var cache = model.CreateKeyValueCache();
        if (Before > 0)
        {
            using var prompt = Ids(Before);
            model.NextTokenLogits(prompt, cache).Dispose();
        }

        return (() =>
        {
            // Every turn of every model attends to the same number of positions.
            cache.Truncate(Before);
            using var ids = Ids(Length);
            for (int i = 0; i < (Decodes ? tokens : 1); i++)
            {
                model.NextTokenLogits(ids, cache).Dispose();
            }
        }, cache);
    }

    private Tensor Ids(int length)
    {
        using var scope = NewDisposeScope();
        return arange((long)Batch * length, ScalarType.Int64).remainder(Shape.Vocabulary).view(Batch, length).MoveToOuterDisposeScope();
    }
}
