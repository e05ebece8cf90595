namespace DispLlm.Modeling;

/// <summary>What a plan leaves of the tensors of a checkpoint. Thread-safe.</summary>
internal static class PrunedTensors
{
    /// <summary>The tensors of a model as a plan leaves them; null for the dense model.</summary>
    public static IEnumerable<CheckpointTensor> Prune(this IEnumerable<CheckpointTensor> tensors, SelectionPlan? plan) =>
        tensors.Select(tensor => tensor.Prune(plan)).OfType<CheckpointTensor>();

    /// <summary>
    /// The tensor that a plan leaves: the kept rows of each part keep their order. Null for the tensor of a head that goes; those of the
    /// heads after it move up.
    /// </summary>
    /// <param name="tensor">The dense tensor.</param>
    /// <param name="plan">The plan; null for the dense model.</param>
    public static CheckpointTensor? Prune(this CheckpointTensor tensor, SelectionPlan? plan)
    {
        if (plan is null)
        {
            return tensor;
        }

        if (tensor.Head is { } head)
        {
            return PruneHead(tensor, head, plan);
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

        if (rows is null || tensor.Parts.All(part => part.Rows is null))
        {
            return tensor with { Shape = shape };
        }

        var rank = tensor.Parts.SelectMany(part => tensor.KeptRows(part, plan)).Order()
            .Select((row, index) => (row, index)).ToDictionary(entry => entry.row, entry => entry.index);
        return tensor with
        {
            Shape = shape,
            Parts = [.. tensor.Parts.Select(part => part with { Rows = [.. tensor.KeptRows(part, plan).Select(row => rank[row])] })],
        };
    }

    /// <summary>The rows of the tensor that hold what a plan keeps of a part, in the part's order.</summary>
    public static IEnumerable<int> KeptRows(this CheckpointTensor tensor, TensorPart part, SelectionPlan plan) =>
        (plan.KeptRows(part.Parameter), part.Rows) switch
        {
            (null, null) => Enumerable.Range(0, (int)part.Parameter.Shape[0]),
            (null, { } rows) => rows,
            ({ } indices, null) => indices,
            var (indices, rows) => indices.Select(index => rows[index]),
        };

    private static CheckpointTensor? PruneHead(CheckpointTensor tensor, int head, SelectionPlan plan)
    {
        var part = tensor.Parts[0];
        int size = (int)tensor.Shape[0], kept = 0;
        foreach (int row in plan.KeptRows(part.Parameter) ?? [.. Enumerable.Range(0, (int)part.Parameter.Shape[0])])
        {
            if (row == head * size)
            {
                return tensor with { Head = kept, Parts = [part with { FirstRow = kept * size }] };
            }

            kept += row % size == 0 ? 1 : 0;
        }

        return null;
    }
}
