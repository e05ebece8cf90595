namespace DispLlm.Modeling;

/// <summary>What a weight does in the decoder; a family says under which tensor name it is stored.</summary>
public enum WeightRole
{
    /// <summary>Token embedding, <c>[vocab, embedding]</c>.</summary>
    TokenEmbedding,

    /// <summary>Table of learned positions, <c>[positions + offset, hidden]</c>.</summary>
    PositionEmbedding,

    /// <summary>Projection from the token embedding into the residual stream, <c>[hidden, embedding]</c>.</summary>
    EmbeddingInput,

    /// <summary>Norm of attention, <c>[hidden]</c>; of the whole block where attention and MLP share one.</summary>
    AttentionNorm,

    /// <summary>Query projection, <c>[heads * head, hidden]</c>. Site S1 cuts its columns.</summary>
    Query,

    /// <summary>Key projection, <c>[kv heads * head, hidden]</c>. Site S1 cuts its columns.</summary>
    Key,

    /// <summary>Value projection, <c>[kv heads * head, hidden]</c>. Site S1 cuts its columns.</summary>
    Value,

    /// <summary>Norm of queries: <c>[head]</c>, or <c>[heads * head]</c> where each feature has a weight of its own.</summary>
    QueryNorm,

    /// <summary>Norm of keys: <c>[head]</c>, or <c>[kv heads * head]</c>.</summary>
    KeyNorm,

    /// <summary>Attention output projection, <c>[hidden, heads * head]</c>. Site S2 cuts its rows.</summary>
    AttentionOutput,

    /// <summary>Norm of what attention writes to the residual stream, <c>[hidden]</c>. Site S2 cuts it.</summary>
    AttentionOutputNorm,

    /// <summary>Norm of the MLP, <c>[hidden]</c>.</summary>
    MlpNorm,

    /// <summary>Gate projection of a gated MLP, <c>[mlp, hidden]</c>. S3 cuts its columns, S4 its rows.</summary>
    MlpGate,

    /// <summary>Up projection, <c>[mlp, hidden]</c>. S3 cuts its columns, S4 its rows.</summary>
    MlpUp,

    /// <summary>Down projection, <c>[hidden, mlp]</c>. S4 cuts its columns, S5 its rows.</summary>
    MlpDown,

    /// <summary>Norm of what the MLP writes to the residual stream, <c>[hidden]</c>. Site S5 cuts it.</summary>
    MlpOutputNorm,

    /// <summary>Norm before the head, <c>[hidden]</c>.</summary>
    FinalNorm,

    /// <summary>Projection from the residual stream to the head, <c>[embedding, hidden]</c>.</summary>
    EmbeddingOutput,

    /// <summary>Language-model head, <c>[vocab, embedding]</c>.</summary>
    Head,
}

/// <summary>What kind of weight a role is.</summary>
internal static class WeightRoles
{
    /// <summary>Whether a weight multiplies normed features.</summary>
    public static bool IsNorm(this WeightRole role) => role is WeightRole.AttentionNorm or WeightRole.AttentionOutputNorm
        or WeightRole.MlpNorm or WeightRole.MlpOutputNorm or WeightRole.FinalNorm or WeightRole.QueryNorm or WeightRole.KeyNorm;
}
