namespace DispLlm.Modeling;

/// <summary>How a model is built, in the words of docs/families.md. Thread-safe.</summary>
internal static class SpecDescription
{
    /// <summary>Everything in one line.</summary>
    public static string Describe(DecoderSpec spec) =>
        string.Join("; ", Norms(spec), Positions(spec), AttentionParts(spec), Mlp(spec), Residual(spec));

    /// <summary>The kind and the places of its norms.</summary>
    public static string Norms(DecoderSpec spec)
    {
        string kind = spec.Norm == NormKind.RmsNorm ? "RMS norm" : spec.NormBias ? "layer norm" : "layer norm without bias";
        string place = spec.NormPlacement switch
        {
            NormPlacement.PostNorm => "after each residual sum",
            NormPlacement.OutputNorm => "on what each sublayer writes",
            NormPlacement.PreAndOutputNorm => "before each sublayer and on what it writes",
            _ => "before each sublayer",
        };
        return $"{kind} {place}{(spec.NormWeightOffset == 1 ? ", weights 1 + w" : string.Empty)}";
    }

    /// <summary>How it knows positions.</summary>
    public static string Positions(DecoderSpec spec)
    {
        if (spec.LearnedPositions is not null)
        {
            return "learned table";
        }

        RotarySpec?[] kinds = [.. Attentions(spec).Select(attention => attention.Rotary).Distinct()];
        var rotary = kinds.First(kind => kind is not null)!;
        string part = rotary.Dimensions == spec.HeadDim ? "rotary, whole heads" : "rotary, part of each head";
        return part + (rotary.Interleaved ? ", neighbours paired" : string.Empty)
            + (kinds.Contains(null) ? ", none in some blocks" : kinds.Length > 1 ? ", two kinds of blocks" : string.Empty);
    }

    /// <summary>What is special about its attention.</summary>
    public static string AttentionParts(DecoderSpec spec)
    {
        int windows = Attentions(spec).Count(attention => attention.SlidingWindow is not null);
        var parts = new List<string>();
        parts.AddRange(windows == 0 ? [] : [windows == spec.NumLayers ? "sliding window" : "sliding window in some blocks"]);
        parts.AddRange(spec.QueryKeyNorm == QueryKeyNorm.None ? [] : ["norms on queries and keys"]);
        parts.AddRange(spec.QueryKeyValueBias ? ["biases on queries, keys and values"] : []);
        parts.AddRange(spec.AttentionSoftcap is null ? [] : ["capped scores"]);
        return parts.Count == 0 ? "plain" : string.Join(", ", parts);
    }

    /// <summary>The form of its MLP.</summary>
    public static string Mlp(DecoderSpec spec)
    {
        string activation = spec.Activation switch
        {
            Activation.GeluTanh => "GELU (tanh)",
            Activation.Silu => "SiLU",
            Activation.Gelu => "GELU",
            _ => "ReLU",
        };
        return $"{(spec.GatedMlp ? "gated" : "plain")}, {activation}";
    }

    /// <summary>How its sublayers follow each other.</summary>
    public static string Residual(DecoderSpec spec) => spec.Residual switch
    {
        ResidualLayout.Parallel => "parallel",
        ResidualLayout.ParallelSharedNorm => "parallel, shared norm",
        _ => "sequential",
    };

    private static IEnumerable<LayerAttention> Attentions(DecoderSpec spec) =>
        Enumerable.Range(0, spec.NumLayers).Select(spec.GetAttention);
}
