namespace DispLlm;

/// <summary>
/// The places of a decoder block where features are selected (DISP-LLM, Fig. 2; docs/method.md, Selection sites). No two sites are tied:
/// every block has its own selection of what it reads from the residual stream and what it writes to it. S1 to S5 are the paper's; S6 goes
/// beyond it.
/// </summary>
public enum SelectionSite
{
    /// <summary>S1, size <c>d</c>: what attention reads. Cuts input columns of the query, key and value projections.</summary>
    AttentionInput = 1,

    /// <summary>S2, size <c>d</c>: what attention writes. Cuts output rows (and bias) of the attention output projection.</summary>
    AttentionOutput = 2,

    /// <summary>S3, size <c>d</c>: what the MLP reads. Cuts input columns of the up (and gate) projection.</summary>
    MlpInput = 3,

    /// <summary>S4, size <c>d_ff</c>: the MLP's hidden features. Cuts rows (and bias) of up and gate, columns of down.</summary>
    MlpHidden = 4,

    /// <summary>S5, size <c>d</c>: what the MLP writes. Cuts output rows (and bias) of the down projection.</summary>
    MlpOutput = 5,

    /// <summary>
    /// S6, size: number of key-value heads. Which key-value heads attention has, each with its query heads. Cuts their rows (and biases) of
    /// the query, key and value projections, and their columns of the attention output projection.
    /// </summary>
    AttentionGroups = 6,
}
