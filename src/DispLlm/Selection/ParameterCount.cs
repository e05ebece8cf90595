namespace DispLlm;

/// <summary>
/// Which parameters a budget counts (docs/method.md, Parameter accounting). The paper and its released code disagree, so every figure names
/// its scope.
/// </summary>
public enum ParameterScope
{
    /// <summary>Weights of the blocks' linear projections: comparable with published code (the default).</summary>
    BlockWeights,

    /// <summary>Weights and biases of the blocks' linear projections.</summary>
    BlockWeightsAndBiases,

    /// <summary>Every parameter of the model, with embeddings, an untied head and norms: what the paper's text says.</summary>
    WholeModel,
}

/// <summary>A number of parameters in all three scopes: always reported together, so that none is taken for another.</summary>
/// <param name="BlockWeights">Weights of the blocks' linear projections.</param>
/// <param name="BlockWeightsAndBiases">The same with their biases.</param>
/// <param name="WholeModel">Every parameter of the model.</param>
public readonly record struct ParameterCount(long BlockWeights, long BlockWeightsAndBiases, long WholeModel)
{
    /// <summary>The count in one scope.</summary>
    /// <param name="scope">The scope.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such scope.</exception>
    public long this[ParameterScope scope] => scope switch
    {
        ParameterScope.BlockWeights => BlockWeights,
        ParameterScope.BlockWeightsAndBiases => BlockWeightsAndBiases,
        ParameterScope.WholeModel => WholeModel,
        _ => throw new ArgumentOutOfRangeException(nameof(scope), scope, "There are three scopes."),
    };
}
