namespace DispLlm.Modeling;

/// <summary>An axis of a weight.</summary>
internal enum WeightAxis
{
    /// <summary>Output features, and with them the bias.</summary>
    Rows,

    /// <summary>Input features.</summary>
    Columns,
}

/// <summary>Which rows and columns of a parameter a plan keeps, as the decoder has them.</summary>
internal static class KeptFeatures
{
    /// <summary>The kept rows of a parameter, ascending; null for all.</summary>
    public static IReadOnlyList<int>? KeptRows(this SelectionPlan plan, ParameterDescriptor parameter) =>
        PrunedAxes.For(parameter.Role, plan.Model.QueryKeyNorm).OutputSite is { } site && parameter.Block >= 0
            ? Kept(plan, parameter, site)
            : NormedSite(plan, parameter) is { } normed ? Kept(plan, parameter, normed)
            : KeptOfStream(plan, parameter, WeightAxis.Rows);

    /// <summary>The kept columns of a parameter, ascending; null for all.</summary>
    public static IReadOnlyList<int>? KeptColumns(this SelectionPlan plan, ParameterDescriptor parameter) =>
        parameter.IsBias ? null
        : PrunedAxes.For(parameter.Role, plan.Model.QueryKeyNorm).InputSite is { } site && parameter.Block >= 0
            ? Kept(plan, parameter, site)
            : KeptOfStream(plan, parameter, WeightAxis.Columns);

    /// <summary>The rows or columns that indices of a site select in a weight.</summary>
    public static IReadOnlyList<int> Expand(this ModelShape model, SelectionSite site, WeightRole role, IReadOnlyList<int> indices)
    {
        int features = model.FeaturesPerIndex(site, role);
        return features == 1 ? indices : [.. indices.SelectMany(index => Enumerable.Range(index * features, features))];
    }

    /// <summary>
    /// The axis along which a parameter that no site cuts holds the residual stream; null where it does not. An embedding or a head that is
    /// not as wide as the stream has a projection between the two.
    /// </summary>
    public static WeightAxis? StreamAxis(ParameterDescriptor parameter, int hiddenSize) => parameter.Role switch
    {
        WeightRole.EmbeddingInput or WeightRole.AttentionNorm or WeightRole.MlpNorm or WeightRole.FinalNorm => WeightAxis.Rows,
        WeightRole.PositionEmbedding or WeightRole.EmbeddingOutput => WeightAxis.Columns,
        WeightRole.TokenEmbedding or WeightRole.Head when !parameter.IsBias && parameter.Shape[1] == hiddenSize => WeightAxis.Columns,
        _ => null,
    };

    /// <summary>
    /// The site that selects what a norm norms, where it selects first; null for others. A norm that both sublayers read stays whole: each
    /// takes its own part of it.
    /// </summary>
    private static SelectionSite? NormedSite(SelectionPlan plan, ParameterDescriptor parameter) =>
        plan.NormOrder != NormOrder.SelectThenNorm || plan.Layout.HasOneStream() || parameter.IsShared ? null : parameter.Role switch
        {
            WeightRole.AttentionNorm => SelectionSite.AttentionInput,
            WeightRole.MlpNorm => SelectionSite.MlpInput,
            _ => null,
        };

    private static IReadOnlyList<int>? Kept(SelectionPlan plan, ParameterDescriptor parameter, SelectionSite site)
    {
        var indices = plan.Blocks[parameter.Block][site];
        return indices.Count == plan.Model.SiteSize(site) ? null : plan.Model.Expand(site, parameter.Role, indices);
    }

    private static IReadOnlyList<int>? KeptOfStream(SelectionPlan plan, ParameterDescriptor parameter, WeightAxis axis) =>
        plan.Stream is { } stream && StreamAxis(parameter, plan.Model.HiddenSize) == axis ? stream : null;
}
