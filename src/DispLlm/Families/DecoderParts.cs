namespace DispLlm.Modeling;

/// <summary>The kind of a model's norms.</summary>
public enum NormKind
{
    /// <summary><c>w * x / sqrt(mean(x^2) + eps)</c>.</summary>
    RmsNorm,

    /// <summary><c>w * (x - mean(x)) / sqrt(var(x) + eps) + b</c>.</summary>
    LayerNorm,
}

/// <summary>Where a block's norms are.</summary>
public enum NormPlacement
{
    /// <summary>Before each sublayer: <c>x + f(norm(x))</c>.</summary>
    PreNorm,

    /// <summary>
    /// After each residual sum: <c>norm(x + f(x))</c>. S1 and S3 then select from the residual stream itself, and no final norm is needed.
    /// </summary>
    PostNorm,
}

/// <summary>How attention and MLP of a block add to the residual stream.</summary>
public enum ResidualLayout
{
    /// <summary>One after the other: <c>y = x + attention(norm1(x)); y + mlp(norm2(y))</c>.</summary>
    Sequential,

    /// <summary>In parallel, each with its own norm: <c>x + attention(norm1(x)) + mlp(norm2(x))</c>.</summary>
    Parallel,

    /// <summary>In parallel from one norm: <c>x + attention(norm(x)) + mlp(norm(x))</c>.</summary>
    ParallelSharedNorm,
}

/// <summary>How queries, keys and values are stored.</summary>
public enum QueryKeyValueLayout
{
    /// <summary>Three projections.</summary>
    Separate,

    /// <summary>One projection whose rows are, head by head, that head's query, key and value.</summary>
    FusedByHead,
}

/// <summary>The nonlinearity of the MLP.</summary>
public enum Activation
{
    /// <summary><c>x * sigmoid(x)</c>, also called swish.</summary>
    Silu,

    /// <summary>The exact Gaussian error linear unit.</summary>
    Gelu,

    /// <summary>The Gaussian error linear unit in its tanh approximation (<c>gelu_new</c>, <c>gelu_pytorch_tanh</c>).</summary>
    GeluTanh,

    /// <summary><c>max(x, 0)</c>.</summary>
    Relu,
}

/// <summary>A table of learned positions, added to the token embeddings. Immutable and safe from several threads.</summary>
/// <param name="Offset">Rows of the table before the one for position 0. Default: 0.</param>
public sealed record LearnedPositionsSpec(int Offset = 0);
