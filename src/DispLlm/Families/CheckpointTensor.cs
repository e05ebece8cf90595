using System.Globalization;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>The rows of one parameter within a tensor of a checkpoint.</summary>
/// <param name="Parameter">The parameter.</param>
/// <param name="FirstRow">The first of its rows that the tensor holds: not 0 where each head has a tensor of its own.</param>
/// <param name="Rows">
/// The tensor's row for each of these rows, in their order; null where the tensor holds them and no others, in order.
/// </param>
internal sealed record TensorPart(ParameterDescriptor Parameter, int FirstRow, int[]? Rows);

/// <summary>
/// One tensor that a checkpoint holds: one parameter in most families; several in one, in an order of rows that the family has, in others.
/// The decoder's parameters are always apart, <c>[out, in]</c>, with heads whole and rotated pairs half the features apart.
/// </summary>
/// <param name="Pattern">Its name in the checkpoint, with <c>{1}</c> for the head's index where each head has a tensor of its own.</param>
/// <param name="Shape">Its dense shape.</param>
/// <param name="Parts">The parameters that it holds.</param>
/// <param name="IsTransposed">Whether it is stored as <c>[in, out]</c>.</param>
internal sealed record CheckpointTensor(string Pattern, IReadOnlyList<long> Shape, IReadOnlyList<TensorPart> Parts, bool IsTransposed)
{
    /// <summary>What stands for the head's index in names.</summary>
    public const string HeadIndex = "{1}";

    /// <summary>The head's index, where each head has a tensor of its own; else null.</summary>
    public int? Head { get; init; }

    /// <summary>Its name in the checkpoint.</summary>
    public string Name => Head is not { } head ? Pattern
        : Pattern.Replace(HeadIndex, head.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);

    /// <summary>How many rows of its parameter one row of the tensor holds: a head's, where a norm is stored as a matrix.</summary>
    public int ParameterRowsPerRow => Shape.Count == 2 && Parts[0].Parameter.Shape.Count == 1 ? (int)Shape[1] : 1;

    /// <summary>The block's index from 0; -1 outside blocks.</summary>
    public int Block => Parts[0].Parameter.Block;

    /// <summary>What its first parameter does.</summary>
    public WeightRole Role => Parts[0].Parameter.Role;

    /// <summary>Whether it holds a norm before a sublayer.</summary>
    public bool IsInputNorm => Role is WeightRole.AttentionNorm or WeightRole.MlpNorm;

    /// <summary>Whether it holds biases.</summary>
    public bool IsBias => Parts[0].Parameter.IsBias;

    /// <summary>The parameters, or what the tensor holds of them, as the decoder takes them: views where rows lie together.</summary>
    /// <param name="stored">The tensor as it is stored, in this shape.</param>
    public IEnumerable<(TensorPart Part, Tensor Value)> Split(Tensor stored)
    {
        Tensor rows = IsTransposed ? stored.t().contiguous() : stored;
        foreach (var part in Parts)
        {
            // A norm of heads may be stored as [heads, head].
            Tensor all = part.Parameter.Shape.Count == 1 && rows.dim() != 1 ? rows.reshape(-1) : rows;
            yield return (part, part.Rows is not { } own ? all
                : IsRange(own) ? all.narrow(0, own.Length == 0 ? 0 : own[0], own.Length)
                : all.index_select(0, tensor([.. own.Select(row => (long)row)], ScalarType.Int64).to(all.device)));
        }
    }

    /// <summary>The tensor as it is stored, from its parameters; the inverse of <see cref="Split"/>.</summary>
    /// <param name="parameter">Gives each parameter, whole, <c>[rows, columns]</c>.</param>
    public Tensor Join(Func<ParameterDescriptor, Tensor> parameter)
    {
        if (Parts is [{ Rows: null } single])
        {
            return IsTransposed ? parameter(single.Parameter).t().contiguous() : parameter(single.Parameter);
        }

        Tensor all = cat([.. Parts.Select(part => parameter(part.Parameter))]);
        long[] order = [.. Parts.SelectMany(part => part.Rows!).Select(row => (long)row)];
        Tensor joined = empty_like(all);
        joined.index_copy_(0, tensor(order, ScalarType.Int64), all);
        return IsTransposed ? joined.t().contiguous() : joined;
    }

    private static bool IsRange(int[] rows)
    {
        for (int i = 1; i < rows.Length; i++)
        {
            if (rows[i] != rows[i - 1] + 1)
            {
                return false;
            }
        }

        return true;
    }
}
