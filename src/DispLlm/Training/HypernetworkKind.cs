namespace DispLlm.Training;

/// <summary>What stands behind the logits of the gates.</summary>
public enum HypernetworkKind
{
    /// <summary>A bidirectional GRU over the sites, then one linear layer per site: sites know of each other (the paper's).</summary>
    Gru,

    /// <summary>One linear layer per site on a fixed random input of its own: the paper's ablation without GRU.</summary>
    Mlp,

    /// <summary>One free parameter per gate: the paper's ablation without hypernetwork.</summary>
    None,
}
