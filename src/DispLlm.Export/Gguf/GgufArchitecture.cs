namespace DispLlm.Export;

/// <summary>Biases that an architecture has.</summary>
[Flags]
internal enum GgufBiases
{
    None = 0,
    QueryKeyValue = 1,
    AttentionOutput = 2,
    Mlp = 4,
    Head = 8,
}

/// <summary>Factors that an architecture reads from metadata; others are multiplied into weights.</summary>
internal enum GgufScales
{
    None,

    /// <summary><c>logit_scale</c>.</summary>
    Logits,

    /// <summary>
    /// <c>embedding_scale</c>, <c>residual_scale</c>, <c>attention.scale</c>, and <c>logit_scale</c>, by which logits are divided.
    /// </summary>
    Granite,
}

/// <summary>
/// What llama.cpp computes for an architecture: its graph, its tensors, its metadata, as far as they differ. The defaults are most
/// architectures'. Immutable.
/// </summary>
/// <param name="Name">The name in <c>general.architecture</c>.</param>
internal sealed record GgufArchitecture(string Name)
{
    /// <summary>The families that llama.cpp's own converter writes this way.</summary>
    public IReadOnlyList<string> Families { get; init; } = [];

    /// <summary>Whether the MLP's width and the numbers of heads may differ by block.</summary>
    public bool VariesByBlock { get; init; }

    /// <summary>Whether each block needs attention.</summary>
    public bool NeedsAttention { get; init; }

    public NormKind Norm { get; init; } = NormKind.RmsNorm;

    public bool NormBias { get; init; } = true;

    public NormPlacement NormPlacement { get; init; } = NormPlacement.PreNorm;

    public IReadOnlyList<ResidualLayout> Residuals { get; init; } = [ResidualLayout.Sequential];

    public bool GatedMlp { get; init; } = true;

    public IReadOnlyList<Activation> Activations { get; init; } = [Activation.Silu];

    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>Whether norms of queries and keys may be absent, too; by the number of blocks.</summary>
    public Func<int, bool> MayLackQueryKeyNorm { get; init; } = _ => false;

    /// <summary>Whether norms of queries and keys may be there; by the number of blocks.</summary>
    public Func<int, bool> MayHaveQueryKeyNorm { get; init; } = _ => true;

    public GgufBiases Biases { get; init; }

    /// <summary>Whether its biases must be there: zeros where the model has none.</summary>
    public bool NeedsBiases { get; init; }

    /// <summary>Whether the head is the token embedding in every model.</summary>
    public bool TiesHead { get; init; }

    /// <summary>Whether heads together are as wide as the residual stream in every model.</summary>
    public bool HeadsFillStream { get; init; }

    public bool LearnedPositions { get; init; }

    /// <summary>Whether rotated pairs are neighbours; otherwise they are half the rotated features apart.</summary>
    public bool RotatesNeighbours { get; init; }

    /// <summary>Whether all features of a head are rotated in every model.</summary>
    public bool RotatesWholeHeads { get; init; }

    /// <summary>Whether <c>rope_freqs</c> is read: a divisor for each frequency.</summary>
    public bool ReadsFrequencyDivisors { get; init; }

    /// <summary>Whether <c>rope_factors_long</c> and <c>rope_factors_short</c> are read.</summary>
    public bool ReadsLongRope { get; init; }

    /// <summary>Every how many blocks one has no positions; null for none.</summary>
    public int? BlocksPerUnrotated { get; init; }

    /// <summary>Every how many blocks one has no sliding window, where there is one; null where windows are not computed.</summary>
    public int? BlocksPerFullAttention { get; init; }

    /// <summary>Whether <see cref="BlocksPerFullAttention"/> may be another number, which is in the metadata.</summary>
    public bool ReadsBlocksPerFullAttention { get; init; }

    /// <summary>Whether there is a sliding window in every model.</summary>
    public bool AlwaysSlides { get; init; }

    /// <summary>Whether blocks with a sliding window have a rotary base of their own, without scaling.</summary>
    public bool SlidingRotary { get; init; }

    /// <summary>Whether the scaling of rotary frequencies is for blocks without a sliding window only.</summary>
    public bool ScalesFullAttentionOnly { get; init; }

    public GgufScales Scales { get; init; }

    /// <summary>Whether token embeddings are multiplied by the root of their size.</summary>
    public bool ScalesEmbedding { get; init; }

    /// <summary>The factor of attention scores; null for <c>HeadDim^-1/2</c>.</summary>
    public Func<GgufLayout, DecoderSpec, double>? AttentionScale { get; init; }

    /// <summary>Whether scores and logits are capped in every model.</summary>
    public bool Softcaps { get; init; }

    /// <summary>Whether logits may be capped.</summary>
    public bool MayCapLogits { get; init; }

    /// <summary>Whether queries, keys and values are one tensor.</summary>
    public bool FusesQueryKeyValue { get; init; }

    /// <summary>Whether gate and up are one tensor.</summary>
    public bool FusesGateUp { get; init; }

    /// <summary>
    /// Why the architecture cannot compute a spec: a key that names it, and the reason; null if it can. Positions are not looked at.
    /// </summary>
    public (string Key, string Reason)? Refusal(DecoderSpec spec)
    {
        (bool IsRight, string Key, string Reason)[] rules =
        [
            (spec.Norm == Norm && (Norm == NormKind.RmsNorm || spec.NormBias == NormBias), nameof(spec.Norm),
                "its norms are of another kind"),
            (spec.NormPlacement == NormPlacement, nameof(spec.NormPlacement), $"its norms are where {NormPlacement} has them"),
            (Residuals.Contains(spec.Residual), nameof(spec.Residual), "its sublayers follow one another otherwise"),
            (spec.GatedMlp == GatedMlp, nameof(spec.GatedMlp), GatedMlp ? "its MLP has a gate" : "its MLP has no gate"),
            (Activations.Contains(spec.Activation), nameof(spec.Activation), $"its activation is {Activations[0]}"),
            (spec.QueryKeyNorm == QueryKeyNorm.None
                ? QueryKeyNorm == QueryKeyNorm.None || MayLackQueryKeyNorm(spec.NumLayers)
                : spec.QueryKeyNorm == QueryKeyNorm && !spec.QueryKeyNormBias && MayHaveQueryKeyNorm(spec.NumLayers),
                nameof(spec.QueryKeyNorm), "it norms queries and keys otherwise"),
            ((Present(spec) & ~Biases) == 0, "bias", $"it has no bias of {Present(spec) & ~Biases}"),
            (spec.TieWordEmbeddings || !TiesHead, nameof(spec.TieWordEmbeddings), "its head is the token embedding"),
            (spec.FinalNorm && !spec.ProjectsEmbedding, nameof(spec.FinalNorm), "it has a norm before the head, and nothing else"),
            (spec.LearnedPositions is null == !LearnedPositions && spec.LearnedPositions is not { Offset: > 0 },
                nameof(spec.LearnedPositions), "its positions are of another kind"),
            (spec.AttentionSoftcap is not null == Softcaps, nameof(spec.AttentionSoftcap), "it caps scores always or never"),
            (spec.LogitSoftcap is not null == Softcaps || MayCapLogits, nameof(spec.LogitSoftcap), "it caps logits always or never"),
            (!spec.HeadBias || spec.LogitScale == 1, nameof(spec.LogitScale), "it scales no bias of the head"),
        ];
        foreach (var (isRight, key, reason) in rules)
        {
            if (!isRight)
            {
                return (key, reason);
            }
        }

        return null;
    }

    private static GgufBiases Present(DecoderSpec spec) =>
        (spec.QueryKeyValueBias ? GgufBiases.QueryKeyValue : 0)
        | (spec.AttentionOutputBias ? GgufBiases.AttentionOutput : 0)
        | (spec.MlpBias ? GgufBiases.Mlp : 0)
        | (spec.HeadBias ? GgufBiases.Head : 0);
}
