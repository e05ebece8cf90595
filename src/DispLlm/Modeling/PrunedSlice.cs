using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>What a plan keeps of one parameter, and the feature scales that its elements are multiplied by.</summary>
/// <param name="Rows">The kept rows; null for all.</param>
/// <param name="Columns">The kept columns; null for all.</param>
/// <param name="RowScales">A factor for each row of the dense parameter; null for none.</param>
/// <param name="ColumnScales">A factor for each kept column; empty for none.</param>
internal readonly record struct PrunedSlice(IReadOnlyList<int>? Rows, int[]? Columns, float[]? RowScales, float[] ColumnScales)
{
    /// <summary>Whether elements are multiplied.</summary>
    public bool Scales => RowScales is not null || ColumnScales.Length > 0;

    private static readonly PrunedSlice s_whole = new(null, null, null, []);

    /// <summary>The slice of a parameter under a plan.</summary>
    public static PrunedSlice For(ParameterDescriptor parameter, SelectionPlan plan)
    {
        var (rows, columns) = (plan.KeptRows(parameter), plan.KeptColumns(parameter));
        if (plan.Scales is not { } scales || parameter.Block < 0)
        {
            return new PrunedSlice(rows, columns is null ? null : [.. columns], null, []);
        }

        var axes = PrunedAxes.For(parameter.Role, plan.Model.QueryKeyNorm);
        float[] Expand(SelectionSite site)
        {
            int features = plan.Model.FeaturesPerIndex(site, parameter.Role);
            float[] values = scales.ForSite(parameter.Block, site).ToArray();
            return features == 1 ? values : [.. values.SelectMany(value => Enumerable.Repeat(value, features))];
        }

        float[]? rowScales = axes.ScaledRows is { } written ? Expand(written) : null;
        float[]? columnScales = parameter.IsBias || axes.InputSite is not { } read ? null : Expand(read);

        // With scales, rows and columns are named even where all are kept: their factors are found by them.
        return new PrunedSlice(
            rows ?? (rowScales is null ? null : [.. Enumerable.Range(0, rowScales.Length)]),
            columns is not null ? [.. columns] : columnScales is null ? null : [.. Enumerable.Range(0, columnScales.Length)],
            rowScales,
            columnScales is null ? [] : columns is null ? columnScales : [.. columns.Select(column => columnScales[column])]);
    }

    /// <summary>The slice of a tensor of a checkpoint, as it is stored; of one that a plan keeps.</summary>
    public static PrunedSlice For(CheckpointTensor tensor, SelectionPlan plan)
    {
        if (tensor.Head is not null)
        {
            return s_whole;
        }

        PrunedSlice[] parts = [.. tensor.Parts.Select(part => For(part.Parameter, plan))];
        var slice = parts[0];
        if (tensor.Parts.Any(part => part.Rows is not null) || tensor.ParameterRowsPerRow > 1)
        {
            int[]? rows = parts.All(part => part.Rows is null) ? null
                : [.. tensor.Parts.SelectMany(part => tensor.KeptRows(part, plan)).Order()];
            int width = tensor.ParameterRowsPerRow;
            rows = rows is null || width == 1 ? rows : [.. rows.Where(row => row % width == 0).Select(row => row / width)];
            slice = slice with { Rows = rows, RowScales = JoinRowScales(tensor, parts) };
        }

        return tensor.IsTransposed ? slice.Transpose((int)tensor.Shape[0]) : slice;
    }

    private static float[]? JoinRowScales(CheckpointTensor tensor, PrunedSlice[] parts)
    {
        if (parts.All(part => part.RowScales is null))
        {
            return null;
        }

        float[] joined = [.. Enumerable.Repeat(1f, tensor.Parts.Sum(part => part.Rows!.Length))];
        foreach (var (part, slice) in tensor.Parts.Zip(parts))
        {
            for (int i = 0; i < slice.RowScales?.Length; i++)
            {
                joined[part.Rows![i]] = slice.RowScales[i];
            }
        }

        return joined;
    }

    private PrunedSlice Transpose(int columns)
    {
        float[]? scales = ColumnScales.Length == 0 ? null : [.. Enumerable.Repeat(1f, columns)];
        for (int i = 0; i < ColumnScales.Length; i++)
        {
            scales![Columns![i]] = ColumnScales[i];
        }

        var (rows, factors) = (Rows, RowScales);
        float[] columnScales = factors is null ? [] : rows is null ? factors : [.. rows.Select(row => factors[row])];
        return new PrunedSlice(Columns, rows is null ? null : [.. rows], scales, columnScales);
    }

    /// <summary>The slice of a tensor, as a new tensor. Scales are multiplied in float32 (float64 in float64) and rounded once.</summary>
    /// <param name="dense">The dense parameter, <c>[out, in]</c> or <c>[out]</c>.</param>
    public Tensor Apply(Tensor dense)
    {
        using var scope = NewDisposeScope();
        Tensor? rows = Rows is null ? null : Index(Rows, dense.device);
        Tensor kept = rows is null ? dense : dense.index_select(0, rows);
        kept = Columns is null ? kept : kept.index_select(1, Index(Columns, dense.device));
        if (Scales)
        {
            Tensor? rowFactors = RowScales is null ? null : tensor(RowScales).to(dense.device);
            rowFactors = rows is null ? rowFactors : rowFactors?.index_select(0, rows);
            Tensor? columnFactors = ColumnScales.Length == 0 ? null : tensor(ColumnScales).to(dense.device);
            Tensor factors = (rowFactors, columnFactors) switch
            {
                (null, { } columns) => columns,
                ({ } ofRows, null) => dense.dim() == 1 ? ofRows : ofRows.unsqueeze(1),
                var (ofRows, columns) => ofRows!.unsqueeze(1) * columns!,
            };
            kept = (kept.to(dense.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32) * factors).to(dense.dtype);
        }

        return (ReferenceEquals(kept, dense) ? dense.clone() : kept).MoveToOuterDisposeScope();
    }

    private static Tensor Index(IReadOnlyList<int> list, Device device) =>
        tensor([.. list.Select(index => (long)index)], ScalarType.Int64).to(device);
}
