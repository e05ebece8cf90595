namespace DispLlm.Modeling;

/// <summary>In which tensors, and in which order of rows, a family stores the parameters of a spec. Thread-safe.</summary>
internal sealed class CheckpointLayout(DecoderSpec spec, IModelFamily family)
{
    // What one tensor may hold together, in the order of its rows.
    private static readonly WeightRole[][] s_together =
        [[WeightRole.Query, WeightRole.Key, WeightRole.Value], [WeightRole.MlpGate, WeightRole.MlpUp]];

    /// <summary>The tensors, in the order of the data flow. They are listed lazily, as parameters are.</summary>
    public IEnumerable<CheckpointTensor> Tensors()
    {
        // What one tensor may hold follows each other in the data flow.
        var stage = new List<ParameterDescriptor>();
        foreach (var parameter in ParameterCatalog.Parameters(spec))
        {
            if (stage.Count > 0 && !BelongTogether(stage[0].Role, parameter.Role))
            {
                foreach (var tensor in Group(stage))
                {
                    yield return tensor;
                }

                stage.Clear();
            }

            stage.Add(parameter);
        }

        foreach (var tensor in Group(stage))
        {
            yield return tensor;
        }
    }

    private static bool BelongTogether(WeightRole first, WeightRole next) =>
        first == next || s_together.Any(roles => roles.Contains(first) && roles.Contains(next));

    private IEnumerable<CheckpointTensor> Group(List<ParameterDescriptor> stage) => stage
        .GroupBy(
            parameter => ParameterCatalog.TensorName(parameter.Role, parameter.Block, parameter.IsBias, family), StringComparer.Ordinal)
        .SelectMany(group => group.Key.Contains(CheckpointTensor.HeadIndex, StringComparison.Ordinal)
            ? PerHead(group.Key, group.Single())
            : s_together.Any(roles => roles.SequenceEqual(group.Select(parameter => parameter.Role)))
                ? [Together(group.Key, [.. group])]
                : group.Select(parameter => Single(group.Key, parameter)));

    private CheckpointTensor Single(string name, ParameterDescriptor parameter)
    {
        // A norm with weights for each head is a matrix in the families that have one tensor for it.
        bool isMatrix = spec.QueryKeyNorm == QueryKeyNorm.PerHead && parameter.Role is WeightRole.QueryNorm or WeightRole.KeyNorm;
        IReadOnlyList<long> shape = isMatrix ? [parameter.Shape[0] / spec.HeadDim, spec.HeadDim] : parameter.Shape;
        return Create(name, shape, [new TensorPart(parameter, 0, RotaryOrder(parameter))]);
    }

    private IEnumerable<CheckpointTensor> PerHead(string name, ParameterDescriptor parameter) =>
        Enumerable.Range(0, (int)(parameter.Shape[0] / spec.HeadDim)).Select(head => new CheckpointTensor(
            name, [spec.HeadDim], [new TensorPart(parameter, head * spec.HeadDim, RotaryOrder(parameter)?[..spec.HeadDim])],
            IsTransposed: false)
        {
            Head = head,
        });

    private CheckpointTensor Together(string name, ParameterDescriptor[] parameters)
    {
        bool byHead = parameters.Length == 3 && spec.QueryKeyValueLayout == QueryKeyValueLayout.ByHead;
        var parts = new List<TensorPart>();
        int rows = 0;
        foreach (var parameter in parameters)
        {
            int count = (int)parameter.Shape[0], first = byHead ? parts.Count * spec.HeadDim : rows;
            int Place(int row) => byHead ? (row / spec.HeadDim * 3 * spec.HeadDim) + first + (row % spec.HeadDim) : first + row;
            int[] own = RotaryOrder(parameter) ?? [.. Enumerable.Range(0, count)];
            parts.Add(new TensorPart(parameter, 0, [.. own.Select(Place)]));
            rows += count;
        }

        return Create(name, [rows, .. parameters[0].Shape.Skip(1)], parts);
    }

    private CheckpointTensor Create(string name, IReadOnlyList<long> shape, List<TensorPart> parts)
    {
        var parameter = parts[0].Parameter;
        bool isTransposed = spec.TransposedProjections && parameter.Block >= 0 && parameter.Shape.Count == 2;
        return new CheckpointTensor(name, isTransposed ? [shape[1], shape[0]] : shape, parts, isTransposed);
    }

    /// <summary>
    /// Where neighbours are rotated, the stored row of each row of queries and keys, and of their norms; null where the order is the same.
    /// Scores do not change when queries and keys are reordered alike.
    /// </summary>
    private int[]? RotaryOrder(ParameterDescriptor parameter)
    {
        bool isRotated = parameter.Role is WeightRole.Query or WeightRole.Key or WeightRole.QueryNorm or WeightRole.KeyNorm;
        if (!isRotated || spec.GetAttention(parameter.Block).Rotary is not { Interleaved: true } rotary)
        {
            return null;
        }

        int half = rotary.Dimensions / 2;
        return
        [
            .. Enumerable.Range(0, (int)parameter.Shape[0]).Select(row =>
            {
                int feature = row % spec.HeadDim;
                return row - feature + (feature < half ? 2 * feature
                    : feature < rotary.Dimensions ? (2 * (feature - half)) + 1
                    : feature);
            }),
        ];
    }
}
