using CsCheck;

namespace DispLlm.Tests;

/// <summary>Hand-made specs, and generators of small random ones: selection needs sizes, not weights.</summary>
internal static class SelectionModels
{
    /// <summary>The llama-mha fixture.</summary>
    public static DecoderSpec LlamaMha { get; } = Spec(hidden: 32, mlp: 48, blocks: 2, heads: 4, keyValueHeads: 4, headSize: 8);

    /// <summary>The llama-gqa-biases-tied fixture.</summary>
    public static DecoderSpec LlamaGqaBiasesTied { get; } = LlamaMha with
    {
        NumKeyValueHeads = 2,
        HeadDim = 12,
        QueryKeyValueBias = true,
        AttentionOutputBias = true,
        MlpBias = true,
        TieWordEmbeddings = true,
    };

    public static DecoderSpec SmolLm2 { get; } =
        Spec(
            hidden: 576,
            mlp: 1536,
            blocks: 30,
            heads: 9,
            keyValueHeads: 3,
            headSize: 64) with
        { VocabularySize = 49152, TieWordEmbeddings = true };

    public static DecoderSpec Llama2 { get; } =
        Spec(hidden: 4096, mlp: 11008, blocks: 32, heads: 32, keyValueHeads: 32, headSize: 128) with { VocabularySize = 32000 };

    public static DecoderSpec Spec(int hidden, int mlp, int blocks, int heads, int keyValueHeads, int headSize) => new()
    {
        VocabularySize = 64,
        HiddenSize = hidden,
        NumLayers = blocks,
        NumAttentionHeads = heads,
        NumKeyValueHeads = keyValueHeads,
        HeadDim = headSize,
        IntermediateSize = mlp,
        GatedMlp = true,
        Activation = Activation.Silu,
        Norm = NormKind.RmsNorm,
        NormEpsilon = 1e-5,
        Rotary = new RotarySpec(10000, headSize, new RotaryScaling.None()),
        MaxPositions = 128,
    };

    /// <summary>The small models that this project has trained: a LLaMA, an OPT and a Phi.</summary>
    public static IReadOnlyList<DecoderSpec> SmallModels { get; } =
    [
        Spec(hidden: 192, mlp: 512, blocks: 6, heads: 6, keyValueHeads: 6, headSize: 32) with { VocabularySize = 4096, MaxPositions = 512 },
        Spec(hidden: 192, mlp: 768, blocks: 6, heads: 6, keyValueHeads: 6, headSize: 32) with
        {
            VocabularySize = 4096,
            MaxPositions = 512,
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            Rotary = null,
            LearnedPositions = new LearnedPositionsSpec(2),
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            MlpBias = true,
            TieWordEmbeddings = true,
        },
        Spec(hidden: 192, mlp: 768, blocks: 6, heads: 6, keyValueHeads: 6, headSize: 32) with
        {
            VocabularySize = 4096,
            MaxPositions = 512,
            GatedMlp = false,
            Norm = NormKind.LayerNorm,
            Residual = ResidualLayout.ParallelSharedNorm,
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            MlpBias = true,
            HeadBias = true,
            QueryKeyNormBias = true,
        },
    ];

    public static Gen<DecoderSpec> Small { get; } =
        from sizes in Gen.Select(Gen.Int[1, 12], Gen.Int[1, 20], Gen.Int[1, 3], Gen.Int[1, 3], Gen.Int[1, 3], Gen.Int[1, 4])
        from flags in Gen.Select(Gen.Bool, Gen.Bool, Gen.Bool, Gen.Bool, Gen.Bool)
        from norm in Gen.Enum<QueryKeyNorm>()
        select Spec(sizes.Item1, sizes.Item2, sizes.Item3, sizes.Item4 * sizes.Item5, sizes.Item5, sizes.Item6) with
        {
            VocabularySize = 7,
            GatedMlp = flags.Item1,
            QueryKeyValueBias = flags.Item2,
            AttentionOutputBias = flags.Item3,
            MlpBias = flags.Item4,
            TieWordEmbeddings = flags.Item5,
            QueryKeyNorm = norm,
        };

    public static Gen<ParameterScope> Scope { get; } = Gen.Int[0, 2].Select(i => (ParameterScope)i);

    /// <summary>
    /// A random plan of a model: every index is kept with the same probability, and at least one per site, but that a block may lose all of
    /// its groups.
    /// </summary>
    public static SelectionPlan RandomPlan(DecoderSpec spec, int seed, double chance = 0.5)
    {
        var random = new Random(seed);
        int[] SomeOrNone(int size) => Enumerable.Range(0, size).Where(_ => random.NextDouble() < chance).ToArray();
        int[] Some(int size) => SomeOrNone(size) is { Length: > 0 } kept ? kept : [random.Next(size)];

        return new SelectionPlan(ModelShape.FromSpec(spec), Enumerable.Range(0, spec.NumLayers).Select(_ => new BlockSelection
        {
            AttentionInput = Some(spec.HiddenSize),
            AttentionOutput = Some(spec.HiddenSize),
            MlpInput = Some(spec.HiddenSize),
            MlpHidden = Some(spec.IntermediateSize),
            MlpOutput = Some(spec.HiddenSize),
            AttentionGroups = SomeOrNone(spec.NumKeyValueHeads),
        }).ToArray());
    }

    /// <summary>
    /// Scores as Fisher's method gives them: logarithms of squares, whose level differs from site to site, and which agree across the sites
    /// of the residual stream.
    /// </summary>
    public static SelectionScores MeasuredScores(DecoderSpec spec, int seed)
    {
        var random = new Random(seed);
        double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        double[] stream = [.. Enumerable.Range(0, spec.HiddenSize).Select(_ => Normal())];
        var layout = new GateLayout(spec);
        float[] values = new float[layout.Count];
        foreach (var range in layout.Sites)
        {
            double level = -18 + 1.5 * Normal();
            for (int i = 0; i < range.Size; i++)
            {
                double own = Normal(), shared = range.Site.Descriptor().IsOnStream ? stream[i] : 0;
                values[range.Offset + i] = (float)(level + shared + Math.Log((own * own) + 1e-12));
            }
        }

        return new SelectionScores(layout, values);
    }

    /// <summary>Random scores; few distinct values where ties are wanted.</summary>
    public static SelectionScores RandomScores(DecoderSpec spec, int seed, int distinct = int.MaxValue)
    {
        var random = new Random(seed);
        var layout = new GateLayout(spec);
        float[] values = new float[layout.Count];
        foreach (var range in layout.Sites)
        {
            // Sites of different level and spread, as learned ones are: some sites nearly close, others stay nearly whole.
            double level = 4 * random.NextDouble() - 2, spread = 0.1 + random.NextDouble();
            for (int i = 0; i < range.Size; i++)
            {
                values[range.Offset + i] = distinct == int.MaxValue
                    ? (float)(level + spread * (random.NextDouble() + random.NextDouble() - 1))
                    : random.Next(distinct) - distinct / 2;
            }
        }

        return new SelectionScores(layout, values);
    }
}
