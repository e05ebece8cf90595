namespace DispLlm.Modeling;

/// <summary>
/// Everything the decoder network needs to know about a model: sizes, and which of the known parts it is built of. A family reads it from
/// <c>config.json</c>; the network reads it and nothing else, so it holds no family's name. Immutable and safe from several threads.
/// </summary>
public sealed record DecoderSpec
{
    /// <summary>Number of tokens in the vocabulary.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Features <c>d</c> of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of decoder blocks <c>L</c>.</summary>
    public required int NumLayers { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int NumAttentionHeads { get; init; }

    /// <summary>Number of key-value heads; fewer than <see cref="NumAttentionHeads"/> in grouped-query attention.</summary>
    public required int NumKeyValueHeads { get; init; }

    /// <summary>Features of one head; not always <c>HiddenSize / NumAttentionHeads</c>.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Hidden features <c>d_ff</c> of the MLP.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Whether the MLP multiplies a gate in: <c>down(act(gate(x)) * up(x))</c>; otherwise <c>down(act(up(x)))</c>.</summary>
    public required bool GatedMlp { get; init; }

    /// <summary>The MLP's nonlinearity.</summary>
    public required Activation Activation { get; init; }

    /// <summary>The kind of every norm of the model.</summary>
    public required NormKind Norm { get; init; }

    /// <summary>The norm's epsilon, added to the variance.</summary>
    public required double NormEpsilon { get; init; }

    /// <summary>Longest sequence the model was made for, in tokens.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>Rotary position embedding of queries and keys; null for a model with <see cref="LearnedPositions"/>.</summary>
    public RotarySpec? Rotary { get; init; }

    /// <summary>How many tokens each one attends to, itself and those just before it. Default: null, all before it.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>
    /// The attention of each block, where blocks differ; it replaces <see cref="Rotary"/> and <see cref="SlidingWindow"/>. Default: null,
    /// all blocks are alike.
    /// </summary>
    public IReadOnlyList<LayerAttention>? LayerAttention { get; init; }

    /// <summary>The factor of attention scores. Default: null, <c>HeadDim^-1/2</c>.</summary>
    public double? AttentionScale { get; init; }

    /// <summary>Attention scores become <c>cap * tanh(scores / cap)</c>. Default: null, they stay.</summary>
    public double? AttentionSoftcap { get; init; }

    /// <summary>Learned positions, a table of <c>MaxPositions + Offset</c> rows; null for a model with <see cref="Rotary"/> ones.</summary>
    public LearnedPositionsSpec? LearnedPositions { get; init; }

    /// <summary>Where the blocks' norms stand. Default: before each sublayer.</summary>
    public NormPlacement NormPlacement { get; init; }

    /// <summary>How attention and MLP add to the residual stream. Default: one after the other.</summary>
    public ResidualLayout Residual { get; init; }

    /// <summary>Whether there is a norm between the last block and the head. Default: yes.</summary>
    public bool FinalNorm { get; init; } = true;

    /// <summary>Whether layer norms have biases; RMS norms have none. Default: yes.</summary>
    public bool NormBias { get; init; } = true;

    /// <summary>What is added to the stored weight of every norm: 1 where the norm multiplies by <c>1 + w</c>. Default: 0.</summary>
    public double NormWeightOffset { get; init; }

    /// <summary>Norms of queries and keys. Default: none.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>Whether layer norms of queries and keys have biases. Default: no.</summary>
    public bool QueryKeyNormBias { get; init; }

    /// <summary>The order within a tensor that holds queries, keys and values together. Default: one after the other.</summary>
    public QueryKeyValueLayout QueryKeyValueLayout { get; init; }

    /// <summary>Whether the blocks' projections are stored as <c>[in, out]</c>. Default: no, as <c>[out, in]</c>.</summary>
    public bool TransposedProjections { get; init; }

    /// <summary>The factor of token embeddings. Default: 1.</summary>
    public double EmbeddingScale { get; init; } = 1;

    /// <summary>The factor of what each sublayer writes to the residual stream. Default: 1.</summary>
    public double ResidualScale { get; init; } = 1;

    /// <summary>The factor of logits. Default: 1.</summary>
    public double LogitScale { get; init; } = 1;

    /// <summary>Logits become <c>cap * tanh(logits / cap)</c>. Default: null, they stay.</summary>
    public double? LogitSoftcap { get; init; }

    /// <summary>
    /// Features of the token embedding. Default: <see cref="HiddenSize"/>. Otherwise one projection leads from the embedding into the
    /// residual stream and another from the residual stream to the head.
    /// </summary>
    public int? EmbeddingSize { get; init; }

    /// <summary>Whether query, key and value projections have biases.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>Whether the attention output projection has a bias.</summary>
    public bool AttentionOutputBias { get; init; }

    /// <summary>Whether the MLP's projections have biases.</summary>
    public bool MlpBias { get; init; }

    /// <summary>Whether the head shares the token embedding's weight.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Whether the head has a bias.</summary>
    public bool HeadBias { get; init; }

    /// <summary>Whether norms stand before the sublayers.</summary>
    internal bool HasInputNorms => NormPlacement is NormPlacement.PreNorm or NormPlacement.PreAndOutputNorm;

    /// <summary>Whether norms stand on what the sublayers write.</summary>
    internal bool HasOutputNorms => NormPlacement is NormPlacement.OutputNorm or NormPlacement.PreAndOutputNorm;

    /// <summary>Whether the token embedding is projected into the residual stream, and the residual stream to the head.</summary>
    public bool ProjectsEmbedding => (EmbeddingSize ?? HiddenSize) != HiddenSize;

    /// <summary>Output features of the query projection: <c>NumAttentionHeads * HeadDim</c>.</summary>
    public int QuerySize => NumAttentionHeads * HeadDim;

    /// <summary>Output features of the key projection, and of the value projection: <c>NumKeyValueHeads * HeadDim</c>.</summary>
    public int KeyValueSize => NumKeyValueHeads * HeadDim;

    /// <summary>The attention of a block.</summary>
    /// <param name="block">The block's index from 0.</param>
    public LayerAttention GetAttention(int block) => LayerAttention?[block] ?? new LayerAttention(Rotary, SlidingWindow);

    /// <summary>Checks that the values fit together.</summary>
    /// <exception cref="ArgumentException">A value is out of range, or two contradict each other; they are named.</exception>
    public void Validate()
    {
        foreach (var (size, name) in new[]
        {
            (VocabularySize, nameof(VocabularySize)), (HiddenSize, nameof(HiddenSize)), (NumLayers, nameof(NumLayers)),
            (NumAttentionHeads, nameof(NumAttentionHeads)), (NumKeyValueHeads, nameof(NumKeyValueHeads)), (HeadDim, nameof(HeadDim)),
            (IntermediateSize, nameof(IntermediateSize)), (MaxPositions, nameof(MaxPositions)),
            (EmbeddingSize ?? HiddenSize, nameof(EmbeddingSize)),
        })
        {
            Require(size >= 1, $"{name} is {size}; it must be at least 1.");
        }

        foreach (var (factor, name) in new[]
        {
            (NormEpsilon, nameof(NormEpsilon)), (AttentionScale ?? 1, nameof(AttentionScale)),
            (AttentionSoftcap ?? 1, nameof(AttentionSoftcap)), (EmbeddingScale, nameof(EmbeddingScale)),
            (ResidualScale, nameof(ResidualScale)), (LogitScale, nameof(LogitScale)), (LogitSoftcap ?? 1, nameof(LogitSoftcap)),
        })
        {
            Require(factor > 0 && double.IsFinite(factor), $"{name} is {factor}; it must be above 0 and finite.");
        }

        Require(
            NumAttentionHeads % NumKeyValueHeads == 0,
            $"{nameof(NumAttentionHeads)} is {NumAttentionHeads}, which is not a multiple "
                + $"of {nameof(NumKeyValueHeads)} {NumKeyValueHeads}.");
        Require(
            Rotary is not null || LearnedPositions is not null || LayerAttention is not null,
            $"The model has no positions: set {nameof(Rotary)} or {nameof(LearnedPositions)}.");
        Require(
            Rotary is null || LearnedPositions is null,
            $"The model has two kinds of positions: {nameof(Rotary)} and {nameof(LearnedPositions)}.");
        Require(
            LayerAttention is null || LayerAttention.Count == NumLayers,
            $"{nameof(LayerAttention)} is of {LayerAttention?.Count} blocks, but the model has {NumLayers}.");
        foreach (var attention in (LayerAttention ?? [GetAttention(0)]).Distinct())
        {
            Validate(attention);
        }

        Require(
            LearnedPositions is not { Offset: < 0 },
            $"{nameof(LearnedPositions)} has the offset {LearnedPositions?.Offset}; it must be at least 0.");
        Require(
            NormPlacement != NormPlacement.PostNorm || Residual == ResidualLayout.Sequential,
            $"{nameof(NormPlacement)} is {NormPlacement}, which needs a residual sum after each sublayer, "
                + $"but {nameof(Residual)} is {Residual}.");
        Require(
            QueryKeyValueLayout == QueryKeyValueLayout.Consecutive || NumKeyValueHeads == NumAttentionHeads,
            $"{nameof(QueryKeyValueLayout)} is {QueryKeyValueLayout}, which needs as many key-value heads ({NumKeyValueHeads}) as "
                + $"query heads ({NumAttentionHeads}).");
    }

    /// <summary>Reads a model's configuration by its family, and checks that the values fit together.</summary>
    /// <param name="config">The model's <c>config.json</c>.</param>
    /// <param name="family">The model's family.</param>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind, or the values contradict each other.</exception>
    /// <exception cref="UnsupportedModelException">A value asks for what the decoder does not compute.</exception>
    public static DecoderSpec Read(ModelConfig config, IModelFamily family)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(family);
        if (config.Has("quantization_config"))
        {
            throw config.Unsupported(
                "quantization_config", "quantized weights cannot be pruned; take the float checkpoint that they were made from");
        }

        var recording = config.Recording();
        var spec = family.ReadSpec(recording);
        ComputationKeys.RefuseUnread(recording, family.Name);
        try
        {
            spec.Validate();
            return spec;
        }
        catch (ArgumentException e)
        {
            throw new CheckpointException(
                config.File, null, $"as family '{family.Name}' reads it, the configuration contradicts itself. {e.Message}", e);
        }
    }

    /// <summary>
    /// Reads a checkpoint's configuration. A head that is stored and differs from the token embedding is a head of its own, whatever the
    /// configuration says of ties, as in transformers 5.
    /// </summary>
    internal static DecoderSpec Read(CheckpointFolder folder, ModelConfig config, IModelFamily family)
    {
        var spec = Read(config, family);
        if (!spec.TieWordEmbeddings)
        {
            return spec;
        }

        string head = ParameterCatalog.TensorName(WeightRole.Head, -1, isBias: false, family);
        string embedding = ParameterCatalog.TensorName(WeightRole.TokenEmbedding, -1, isBias: false, family);
        return spec with { TieWordEmbeddings = !folder.HoldsAnother(head, ParameterCatalog.NameIn(folder, embedding, family)) };
    }

    private void Validate(LayerAttention attention)
    {
        Require(
            attention.Rotary is not { } rotary || (rotary.Dimensions >= 2 && rotary.Dimensions % 2 == 0 && rotary.Dimensions <= HeadDim),
            $"{nameof(Rotary)} rotates {attention.Rotary?.Dimensions} features of each head; it must be an even number from 2 to the "
                + $"head's {HeadDim}.");
        Require(attention.SlidingWindow is not < 1, $"{nameof(SlidingWindow)} is {attention.SlidingWindow}; it must be at least 1.");
        attention.Rotary?.Scaling.Validate(attention.Rotary.Dimensions);
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new ArgumentException(otherwise);
        }
    }
}
