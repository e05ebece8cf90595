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

    /// <summary>
    /// On what each sublayer writes: <c>x + norm(f(x))</c>. S1 and S3 select from the residual stream itself; S2 and S5 select before the
    /// norm, whose statistics are over what is kept.
    /// </summary>
    OutputNorm,

    /// <summary>Before each sublayer and on what it writes: <c>x + norm2(f(norm1(x)))</c>.</summary>
    PreAndOutputNorm,
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

/// <summary>In which order one tensor holds queries, keys and values, where a family stores all three in one.</summary>
public enum QueryKeyValueLayout
{
    /// <summary>The rows of all queries, then those of all keys, then those of all values.</summary>
    Consecutive,

    /// <summary>Head by head: that head's query, key and value.</summary>
    ByHead,
}

/// <summary>Norms of queries and keys, before they are rotated.</summary>
public enum QueryKeyNorm
{
    /// <summary>There are none.</summary>
    None,

    /// <summary>Over the features of each head; all heads share one weight <c>[head]</c>.</summary>
    SharedByHeads,

    /// <summary>Over the features of each head; every head has a weight of its own, <c>[heads, head]</c> in all.</summary>
    PerHead,

    /// <summary>Over the features of all heads together, <c>[heads * head]</c>.</summary>
    AllHeads,
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

/// <summary>The attention of one block, where blocks differ. Immutable and safe from several threads.</summary>
/// <param name="Rotary">Rotary position embedding of queries and keys; null for a block without positions.</param>
/// <param name="SlidingWindow">
/// How many tokens each one attends to, itself and those just before it; null for all before it.
/// </param>
public sealed record LayerAttention(RotarySpec? Rotary, int? SlidingWindow);
