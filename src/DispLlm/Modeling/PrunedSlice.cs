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

    /// <summary>The slice of a parameter under a plan. Parameters outside blocks are kept whole.</summary>
    public static PrunedSlice For(CheckpointParameter parameter, SelectionPlan plan)
    {
        if (parameter.Block < 0)
        {
            return new PrunedSlice(null, null, null, []);
        }

        var axes = PrunedAxes.For(parameter.Role);
        var selection = plan.Blocks[parameter.Block];
        SelectionSite? input = parameter.IsBias ? null : axes.InputSite;
        int[]? columns = input is { } read ? [.. selection[read]] : null;
        return new PrunedSlice(
            axes.OutputSite is { } output ? selection[output] : null,
            columns,
            axes.ScaledRows is { } written ? plan.Scales?.ForSite(parameter.Block, written).ToArray() : null,
            input is { } scaled && plan.Scales is { } scales
                ? [.. columns!.Select(column => scales.ForSite(parameter.Block, scaled)[column])]
                : []);
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
