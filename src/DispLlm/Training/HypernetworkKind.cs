namespace DispLlm.Training;

/// <summary>What the logits of the gates are computed by.</summary>
public enum HypernetworkKind
{
    /// <summary>A bidirectional GRU over the sites, then one linear layer per site: the paper's network.</summary>
    Gru,

    /// <summary>One linear layer per site on a fixed random input of its own: the paper's ablation without GRU.</summary>
    Mlp,

    /// <summary>One free parameter per gate: the paper's ablation without hypernetwork.</summary>
    None,
}
