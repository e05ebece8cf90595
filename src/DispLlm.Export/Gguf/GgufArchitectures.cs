namespace DispLlm.Export;

/// <summary>The architectures of llama.cpp that models can be written for.</summary>
internal static class GgufArchitectures
{
    private const GgufBiases InBlocks = GgufBiases.QueryKeyValue | GgufBiases.AttentionOutput | GgufBiases.Mlp;

    private static readonly GgufArchitecture s_llama = new("llama")
    {
        Families = ["llama", "mistral"],
        Biases = InBlocks,
        RotatesNeighbours = true,
        RotatesWholeHeads = true,
        ReadsFrequencyDivisors = true,
        ReadsLongRope = true,
    };

    private static readonly GgufArchitecture s_gemma = new("gemma")
    {
        Families = ["gemma"],
        Activations = [Activation.GeluTanh],
        TiesHead = true,
        ScalesEmbedding = true,
    };

    /// <summary>
    /// All of them. Those without a family of their own are for whatever models they can compute: <c>deci</c> is LLaMA with widths by
    /// block, and <c>openelm</c> Qwen3.
    /// </summary>
    public static IReadOnlyList<GgufArchitecture> All { get; } =
    [
        s_llama,
        s_llama with { Name = "deci", Families = [], VariesByBlock = true },
        new("openelm")
        {
            VariesByBlock = true,
            NeedsAttention = true,
            QueryKeyNorm = QueryKeyNorm.SharedByHeads,
            TiesHead = true,
            FusesQueryKeyValue = true,
        },
        new("qwen2") { Families = ["qwen2"], Biases = GgufBiases.QueryKeyValue, HeadsFillStream = true },
        new("qwen3") { Families = ["qwen3"], QueryKeyNorm = QueryKeyNorm.SharedByHeads },
        new("phi3")
        {
            Families = ["phi3"],
            ReadsLongRope = true,
            HeadsFillStream = true,
            FusesQueryKeyValue = true,
            FusesGateUp = true,
        },
        s_gemma,
        s_gemma with
        {
            Name = "gemma2",
            Families = ["gemma2"],
            NormPlacement = NormPlacement.PreAndOutputNorm,
            BlocksPerFullAttention = 2,
            AlwaysSlides = true,
            AttentionScale = (layout, spec) => GemmaScale(46, layout, spec),
            Softcaps = true,
        },
        s_gemma with
        {
            Name = "gemma3",
            Families = ["gemma3"],
            NormPlacement = NormPlacement.PreAndOutputNorm,
            QueryKeyNorm = QueryKeyNorm.SharedByHeads,
            BlocksPerFullAttention = 6,
            ReadsBlocksPerFullAttention = true,
            SlidingRotary = true,
            AttentionScale = (layout, spec) => GemmaScale(62, layout, spec),
            MayCapLogits = true,
            TiesHead = false,
        },
        s_llama with { Name = "granite", Families = ["granite"], ReadsLongRope = false, Scales = GgufScales.Granite },
        new("smollm3") { Families = ["smollm3"], RotatesNeighbours = true, BlocksPerUnrotated = 4 },
        new("command-r")
        {
            Families = ["cohere"],
            Norm = NormKind.LayerNorm,
            NormBias = false,
            Residuals = [ResidualLayout.ParallelSharedNorm],
            QueryKeyNorm = QueryKeyNorm.PerHead,

            // Command R+ alone has these norms.
            MayLackQueryKeyNorm = blocks => blocks < 64,
            MayHaveQueryKeyNorm = blocks => blocks >= 64,
            TiesHead = true,
            RotatesNeighbours = true,
            Scales = GgufScales.Logits,
        },
        new("olmo2")
        {
            Families = ["olmo2", "olmo3"],
            NormPlacement = NormPlacement.OutputNorm,
            QueryKeyNorm = QueryKeyNorm.AllHeads,
            HeadsFillStream = true,
            BlocksPerFullAttention = 4,
            ScalesFullAttentionOnly = true,
        },
        new("glm4")
        {
            Families = ["glm4"],
            NormPlacement = NormPlacement.PreAndOutputNorm,
            Biases = GgufBiases.QueryKeyValue,
            RotatesNeighbours = true,
            FusesGateUp = true,
        },
        new("stablelm")
        {
            Families = ["stablelm"],
            Norm = NormKind.LayerNorm,
            Residuals = [ResidualLayout.Sequential, ResidualLayout.ParallelSharedNorm],
            QueryKeyNorm = QueryKeyNorm.PerHead,
            MayLackQueryKeyNorm = _ => true,
            Biases = GgufBiases.QueryKeyValue,
            HeadsFillStream = true,
        },
        new("starcoder2")
        {
            Families = ["starcoder2"],
            Norm = NormKind.LayerNorm,
            GatedMlp = false,
            Activations = [Activation.GeluTanh, Activation.Gelu],
            Biases = InBlocks,
            NeedsBiases = true,
            HeadsFillStream = true,
        },
        new("gptneox")
        {
            Families = ["gpt-neox"],
            Norm = NormKind.LayerNorm,
            Residuals = [ResidualLayout.Parallel, ResidualLayout.Sequential],
            GatedMlp = false,
            Activations = [Activation.Gelu, Activation.GeluTanh],
            Biases = InBlocks,
            NeedsBiases = true,
            HeadsFillStream = true,
            FusesQueryKeyValue = true,
        },
        new("gpt2")
        {
            Families = ["gpt2"],
            Norm = NormKind.LayerNorm,
            GatedMlp = false,
            Activations = [Activation.GeluTanh, Activation.Gelu],
            Biases = InBlocks,
            NeedsBiases = true,
            HeadsFillStream = true,
            LearnedPositions = true,
            FusesQueryKeyValue = true,
        },
        new("phi2")
        {
            Families = ["phi"],
            Norm = NormKind.LayerNorm,
            Residuals = [ResidualLayout.ParallelSharedNorm],
            GatedMlp = false,
            Activations = [Activation.GeluTanh, Activation.Gelu],
            Biases = InBlocks | GgufBiases.Head,
            NeedsBiases = true,
            HeadsFillStream = true,
        },
    ];

    /// <summary>
    /// What a model can be written as, best first: what llama.cpp's own converter would write, then whatever computes the same.
    /// </summary>
    /// <exception cref="ExportException">Nothing computes the model; what it has that nothing computes is named.</exception>
    public static IReadOnlyList<GgufArchitecture> For(IModelFamily family, DecoderSpec spec)
    {
        var own = All.Where(architecture => architecture.Families.Contains(family.Name)).ToList();
        List<GgufArchitecture> able =
        [
            .. own.Append(s_llama).Concat(All.Where(architecture => architecture.Families.Count == 0)).Distinct()
                .Where(architecture => architecture.Refusal(spec) is null && GgufRotary.Refusal(architecture, spec) is null),
        ];
        if (able.Count > 0)
        {
            return able;
        }

        if (own is not [var one, ..])
        {
            throw new ExportException(
                "gguf", "model_type", $"llama.cpp has no architecture for models of family '{family.Name}'. Export it in another format.");
        }

        var (key, reason) = one.Refusal(spec) ?? GgufRotary.Refusal(one, spec)!.Value;
        throw new ExportException(
            "gguf", key, $"llama.cpp's architecture '{one.Name}' does not compute this model: {reason} ({key}). Export it in another "
                + "format.");
    }

    /// <summary>llama.cpp knows the largest Gemma by its number of blocks, and takes another size of heads there.</summary>
    private static double GemmaScale(int blocks, GgufLayout layout, DecoderSpec spec) =>
        1 / Math.Sqrt(spec.NumLayers == blocks ? layout.StreamSize / layout.Heads(0) : spec.HeadDim);
}
