namespace DispLlm;

/// <summary>What a weight does in the decoder; a family says under which tensor name it is stored.</summary>
public enum WeightRole
{
    /// <summary>Token embedding, <c>[vocab, hidden]</c>.</summary>
    TokenEmbedding,

    /// <summary>Norm in front of attention, <c>[hidden]</c>.</summary>
    AttentionNorm,

    /// <summary>Query projection, <c>[heads * head, hidden]</c>. Site S1 cuts its columns.</summary>
    Query,

    /// <summary>Key projection, <c>[kv heads * head, hidden]</c>. Site S1 cuts its columns.</summary>
    Key,

    /// <summary>Value projection, <c>[kv heads * head, hidden]</c>. Site S1 cuts its columns.</summary>
    Value,

    /// <summary>Attention output projection, <c>[hidden, heads * head]</c>. Site S2 cuts its rows.</summary>
    AttentionOutput,

    /// <summary>Norm in front of the MLP, <c>[hidden]</c>.</summary>
    MlpNorm,

    /// <summary>Gate projection of a gated MLP, <c>[mlp, hidden]</c>. S3 cuts its columns, S4 its rows.</summary>
    MlpGate,

    /// <summary>Up projection, <c>[mlp, hidden]</c>. S3 cuts its columns, S4 its rows.</summary>
    MlpUp,

    /// <summary>Down projection, <c>[hidden, mlp]</c>. S4 cuts its columns, S5 its rows.</summary>
    MlpDown,

    /// <summary>Norm before the head, <c>[hidden]</c>.</summary>
    FinalNorm,

    /// <summary>Language-model head, <c>[vocab, hidden]</c>.</summary>
    Head,
}
