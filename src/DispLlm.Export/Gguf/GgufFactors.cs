namespace DispLlm.Export;

/// <summary>
/// Factors of a model that an architecture does not read: they are multiplied into weights, which computes the same. A tied head, which
/// must not have the factor of embeddings, is divided by it in the norm before it.
/// </summary>
internal static class GgufFactors
{
    /// <summary>What a weight, or its bias, is multiplied by.</summary>
    public static double Factor(GgufLayout layout, DecoderSpec spec, WeightRole role)
    {
        var architecture = layout.Architecture;
        bool isGranite = architecture.Scales == GgufScales.Granite;
        double embedding = isGranite ? 1 : Ratio(spec.EmbeddingScale, architecture.ScalesEmbedding ? Math.Sqrt(layout.StreamSize) : 1);
        double logits = architecture.Scales == GgufScales.None ? spec.LogitScale : 1;
        double residual = isGranite ? 1 : spec.ResidualScale;
        bool hasHeadNorms = spec.QueryKeyNorm != QueryKeyNorm.None;
        return role switch
        {
            WeightRole.TokenEmbedding => embedding,
            WeightRole.FinalNorm => logits / (spec.TieWordEmbeddings ? embedding : 1),
            WeightRole.Query => hasHeadNorms ? 1 : Scores(layout, spec),
            WeightRole.QueryNorm => Scores(layout, spec),
            WeightRole.AttentionOutput or WeightRole.MlpDown => spec.HasOutputNorms ? 1 : residual,
            WeightRole.AttentionOutputNorm or WeightRole.MlpOutputNorm => residual,
            _ => 1,
        };
    }

    /// <summary>The factors that an architecture reads.</summary>
    public static IEnumerable<GgufValue> Metadata(GgufArchitecture architecture, DecoderSpec spec)
    {
        if (architecture.Scales == GgufScales.Logits)
        {
            yield return new($"{architecture.Name}.logit_scale", (float)spec.LogitScale);
        }

        if (architecture.Scales == GgufScales.Granite)
        {
            yield return new($"{architecture.Name}.embedding_scale", (float)spec.EmbeddingScale);
            yield return new($"{architecture.Name}.residual_scale", (float)spec.ResidualScale);
            yield return new($"{architecture.Name}.attention.scale", (float)(spec.AttentionScale ?? Usual(spec)));
            yield return new($"{architecture.Name}.logit_scale", (float)(1 / spec.LogitScale));
        }

        if (spec.AttentionSoftcap is { } scores)
        {
            yield return new($"{architecture.Name}.attn_logit_softcapping", (float)scores);
        }

        if (spec.LogitSoftcap is { } cap)
        {
            yield return new($"{architecture.Name}.final_logit_softcapping", (float)cap);
        }
    }

    private static double Scores(GgufLayout layout, DecoderSpec spec) => layout.Architecture.Scales == GgufScales.Granite ? 1
        : Ratio(spec.AttentionScale ?? Usual(spec), layout.Architecture.AttentionScale?.Invoke(layout, spec) ?? Usual(spec));

    private static double Usual(DecoderSpec spec) => 1 / Math.Sqrt(spec.HeadDim);

    /// <summary>A quotient; exactly 1 where the two differ by rounding alone.</summary>
    private static double Ratio(double wanted, double computed) => Math.Abs(wanted - computed) <= 1e-7 * computed ? 1 : wanted / computed;
}
