namespace DispLlm;

/// <summary>
/// Which of a model's sites may be cut, and which of them select alike (docs/method.md, Layouts). A layout without S1, S2, S3 and S5, or
/// with one selection of the residual stream for the whole model, leaves nothing but narrower matrices: no index operation is needed.
/// </summary>
public enum PruningLayout
{
    /// <summary>The paper's five sites, S1 to S5, all free. Attention heads are kept.</summary>
    Paper,

    /// <summary>S4 and S6: MLP widths and key-value groups of each block. The residual stream is kept whole.</summary>
    Blocks,

    /// <summary>All six sites, free.</summary>
    All,

    /// <summary>S4 alone: MLP widths of each block.</summary>
    Mlp,

    /// <summary>
    /// One selection of the residual stream for the whole model (S1 = S2 = S3 = S5), and S4 of each block. Embedding, head and norms are
    /// cut with the stream.
    /// </summary>
    Stream,

    /// <summary>
    /// One selection of the residual stream and one MLP width for the whole model: what is left is an ordinary model with smaller sizes.
    /// </summary>
    Stock,
}

/// <summary>What the layouts are.</summary>
internal static class PruningLayouts
{
    /// <summary>
    /// Whether gates act at a site: where it selects, and at the sites of the paper wherever scales can be learned for what is kept whole.
    /// </summary>
    public static bool HasGates(this PruningLayout layout, SelectionSite site) =>
        layout.Selects(site) || (!layout.HasOneStream() && site != SelectionSite.AttentionGroups);

    /// <summary>Whether gates may close at a site.</summary>
    public static bool Selects(this PruningLayout layout, SelectionSite site) => layout switch
    {
        PruningLayout.Paper => site != SelectionSite.AttentionGroups,
        PruningLayout.Blocks => site is SelectionSite.MlpHidden or SelectionSite.AttentionGroups,
        PruningLayout.All => true,
        PruningLayout.Mlp => site == SelectionSite.MlpHidden,
        PruningLayout.Stream or PruningLayout.Stock => site.Descriptor().IsOnStream || site == SelectionSite.MlpHidden,
        _ => throw new ArgumentOutOfRangeException(nameof(layout), layout, "There is no such layout."),
    };

    /// <summary>Whether the whole model has one selection of the residual stream, and all that holds the stream is cut with it.</summary>
    public static bool HasOneStream(this PruningLayout layout) => layout is PruningLayout.Stream or PruningLayout.Stock;

    /// <summary>Whether a site has the whole model's selection of the residual stream.</summary>
    public static bool Shares(this PruningLayout layout, SelectionSite site) => layout.HasOneStream() && site.Descriptor().IsOnStream;

    /// <summary>Whether all blocks have one MLP width.</summary>
    public static bool HasOneMlpWidth(this PruningLayout layout) => layout == PruningLayout.Stock;

    /// <summary>
    /// The order of norm and selection: where there is one stream, no norm ever sees more than what is kept of it.
    /// </summary>
    public static NormOrder Order(this PruningLayout layout, NormOrder wanted) =>
        layout.HasOneStream() ? NormOrder.SelectThenNorm : wanted;

    /// <summary>
    /// The multiple that widths of a site have, or less where they are whole: groups are counted one by one, and one stream is a multiple
    /// of the number of heads where nothing else is asked for: transformers refuses a LLaMA with another.
    /// </summary>
    public static int Multiple(this PruningLayout layout, SelectionSite site, int wanted, ModelShape model) =>
        site == SelectionSite.AttentionGroups ? 1
        : layout.Shares(site) && (layout == PruningLayout.Stock || wanted == 1) ? model.NumAttentionHeads
        : wanted;

    /// <summary>Refuses a number that is no layout.</summary>
    public static PruningLayout Checked(this PruningLayout layout) => Enum.IsDefined(layout)
        ? layout
        : throw new SelectionException($"There is no layout {(int)layout}; there are {string.Join(", ", Enum.GetNames<PruningLayout>())}.");
}
