namespace DispLlm.Modeling;

/// <summary>How many indices one block keeps at each site: all that its parameter count depends on (method, section 2).</summary>
/// <param name="AttentionInput">S1: kept features that attention reads.</param>
/// <param name="AttentionOutput">S2: features that attention writes.</param>
/// <param name="MlpInput">S3: kept features that the MLP reads.</param>
/// <param name="MlpHidden">S4: kept hidden features of the MLP.</param>
/// <param name="MlpOutput">S5: features that the MLP writes.</param>
public readonly record struct BlockWidths(int AttentionInput, int AttentionOutput, int MlpInput, int MlpHidden, int MlpOutput)
{
    /// <summary>The width of one site.</summary>
    /// <param name="site">The site.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public int this[SelectionSite site] => site switch
    {
        SelectionSite.AttentionInput => AttentionInput,
        SelectionSite.AttentionOutput => AttentionOutput,
        SelectionSite.MlpInput => MlpInput,
        SelectionSite.MlpHidden => MlpHidden,
        SelectionSite.MlpOutput => MlpOutput,
        _ => throw NoSuchSite(site),
    };

    /// <summary>The widths of a selection.</summary>
    /// <param name="selection">The selection.</param>
    public static BlockWidths FromSelection(BlockSelection selection)
    {
        ArgumentNullException.ThrowIfNull(selection);
        return new BlockWidths(
            selection.AttentionInput.Count,
            selection.AttentionOutput.Count,
            selection.MlpInput.Count,
            selection.MlpHidden.Count,
            selection.MlpOutput.Count);
    }

    /// <summary>The same widths with one site's replaced.</summary>
    /// <param name="site">The site.</param>
    /// <param name="width">Its new width.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public BlockWidths With(SelectionSite site, int width) => site switch
    {
        SelectionSite.AttentionInput => this with { AttentionInput = width },
        SelectionSite.AttentionOutput => this with { AttentionOutput = width },
        SelectionSite.MlpInput => this with { MlpInput = width },
        SelectionSite.MlpHidden => this with { MlpHidden = width },
        SelectionSite.MlpOutput => this with { MlpOutput = width },
        _ => throw NoSuchSite(site),
    };

    private static ArgumentOutOfRangeException NoSuchSite(SelectionSite site) =>
        new(nameof(site), site, "There are five sites, S1 to S5.");
}
