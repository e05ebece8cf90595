namespace DispLlm.Modeling;

/// <summary>What a plan leaves of the tensors of a checkpoint. Thread-safe.</summary>
internal static class PrunedTensors
{
    /// <summary>The tensor that a plan leaves: the kept rows of each part keep their order.</summary>
    /// <param name="tensor">The dense tensor.</param>
    /// <param name="plan">The plan; null for the dense model.</param>
    public static CheckpointTensor Prune(this CheckpointTensor tensor, SelectionPlan? plan)
    {
        if (plan is null || tensor.Block < 0)
        {
            return tensor;
        }

        var slice = PrunedSlice.For(tensor, plan);
        int rowAxis = tensor.IsTransposed ? 1 : 0;
        var (rows, columns) = tensor.IsTransposed
            ? (slice.Columns, slice.Rows) : ((IReadOnlyList<int>?)slice.Rows, (IReadOnlyList<int>?)slice.Columns);
        long[] shape = [.. tensor.Shape];
        shape[rowAxis] = rows?.Count ?? shape[rowAxis];
        if (shape.Length == 2)
        {
            shape[1 - rowAxis] = columns?.Count ?? shape[1 - rowAxis];
        }

        if (rows is null)
        {
            return tensor with { Shape = shape };
        }

        var rank = rows.Select((row, index) => (row, index)).ToDictionary(entry => entry.row, entry => entry.index);
        return tensor with
        {
            Shape = shape,
            Parts = [.. tensor.Parts.Select(part => part.Rows is null ? part : part with
            {
                Rows = [.. tensor.KeptRows(part, plan).Select(row => rank[row])],
            })],
        };
    }

    /// <summary>The rows of the tensor that hold what a plan keeps of a part, in the part's order.</summary>
    public static IEnumerable<int> KeptRows(this CheckpointTensor tensor, TensorPart part, SelectionPlan plan)
    {
        var kept = PrunedAxes.For(part.Parameter.Role).OutputSite is { } site ? plan.Blocks[tensor.Block][site] : null;
        return (kept, part.Rows) switch
        {
            (null, null) => Enumerable.Range(0, (int)tensor.Shape[tensor.IsTransposed ? 1 : 0]),
            (null, { } rows) => rows,
            ({ } indices, null) => indices,
            var (indices, rows) => indices.Select(index => rows[index]),
        };
    }
}
