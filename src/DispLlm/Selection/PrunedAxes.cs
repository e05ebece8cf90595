namespace DispLlm.Modeling;

/// <summary>Which site cuts which side of a weight (method, section 1): the one table that accounting, cutting and loading go by.</summary>
/// <param name="OutputSite">The site that selects output rows, and with them the bias; null where all stay.</param>
/// <param name="InputSite">The site that selects input columns; null where all stay.</param>
public readonly record struct PrunedAxes(SelectionSite? OutputSite, SelectionSite? InputSite)
{
    /// <summary>
    /// The site whose gains multiply the weight's rows, and with them the bias; null for none. Rows that S4 selects are no gated outputs: its gains stand behind the activation, and
    /// the columns of the down projection take them.
    /// </summary>
    internal SelectionSite? GainRows => OutputSite == SelectionSite.MlpHidden ? null : OutputSite;

    /// <summary>The cuts of a role.</summary>
    /// <param name="role">What the weight does.</param>
    public static PrunedAxes For(WeightRole role) => role switch
    {
        WeightRole.Query or WeightRole.Key or WeightRole.Value or WeightRole.QueryKeyValue => new(null, SelectionSite.AttentionInput),
        WeightRole.AttentionOutput => new(SelectionSite.AttentionOutput, null),
        WeightRole.MlpGate or WeightRole.MlpUp => new(SelectionSite.MlpHidden, SelectionSite.MlpInput),
        WeightRole.MlpDown => new(SelectionSite.MlpOutput, SelectionSite.MlpHidden),
        _ => default,
    };

    /// <summary>The shape of a tensor once a block keeps only what is selected.</summary>
    /// <param name="slot">The tensor.</param>
    /// <param name="selection">What its block keeps; null for a dense block.</param>
    public static long[] PrunedShape(CheckpointParameter slot, BlockSelection? selection)
    {
        ArgumentNullException.ThrowIfNull(slot);
        long[] shape = [.. slot.Shape];
        if (selection is null)
        {
            return shape;
        }

        var cuts = For(slot.Role);
        if (cuts.OutputSite is { } rows)
        {
            shape[0] = selection[rows].Count;
        }

        if (cuts.InputSite is { } columns && !slot.IsBias)
        {
            shape[1] = selection[columns].Count;
        }

        return shape;
    }
}
