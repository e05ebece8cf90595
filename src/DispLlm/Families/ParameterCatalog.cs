namespace DispLlm.Modeling;

/// <summary>One parameter that a spec asks for, before a family has named it.</summary>
/// <param name="Role">What it does.</param>
/// <param name="Block">The block's index from 0; -1 outside blocks.</param>
/// <param name="IsBias">Whether it is the bias that goes with the role's weight.</param>
/// <param name="Shape">Its dense shape.</param>
public sealed record ParameterDescriptor(WeightRole Role, int Block, bool IsBias, IReadOnlyList<long> Shape)
{
    /// <summary>Whether both sublayers of the block read what it norms. Default: no.</summary>
    internal bool IsShared { get; init; }
}

/// <summary>
/// Lists every parameter of a spec with its dense shape, and every tensor in which a checkpoint holds them. Reading, counting and cutting
/// go by this one list. Thread-safe.
/// </summary>
public static class ParameterCatalog
{
    /// <summary>
    /// The parameters that a spec asks for, in the order of the data flow. They are listed lazily: a damaged configuration with two billion
    /// blocks fails at its first missing tensor, not for lack of memory.
    /// </summary>
    /// <param name="spec">The model's spec.</param>
    public static IEnumerable<ParameterDescriptor> Parameters(DecoderSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        return BeforeBlocks(spec)
            .Concat(Enumerable.Range(0, spec.NumLayers).SelectMany(block => BlockParameters(spec, block)))
            .Concat(AfterBlocks(spec));
    }

    /// <summary>The parameters of one block, in the order of the data flow.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="block">The block's index from 0.</param>
    public static IReadOnlyList<ParameterDescriptor> BlockParameters(DecoderSpec spec, int block)
    {
        ArgumentNullException.ThrowIfNull(spec);
        long d = spec.HiddenSize;
        var parts = new List<ParameterDescriptor>();
        void Add(WeightRole role, bool bias, params long[] shape) => parts.AddRange(WithBias(role, block, bias, shape));
        void AddNorm(WeightRole role, long size) => parts.AddRange(Norm(spec, role, block, size));

        bool hasNorm = spec.NormPlacement != NormPlacement.OutputNorm;
        if (hasNorm)
        {
            bool isShared = spec.Residual == ResidualLayout.ParallelSharedNorm;
            parts.AddRange(Norm(spec, WeightRole.AttentionNorm, block, d).Select(norm => norm with { IsShared = isShared }));
        }

        Add(WeightRole.Query, spec.QueryKeyValueBias, spec.QuerySize, d);
        Add(WeightRole.Key, spec.QueryKeyValueBias, spec.KeyValueSize, d);
        Add(WeightRole.Value, spec.QueryKeyValueBias, spec.KeyValueSize, d);
        if (spec.QueryKeyNorm != QueryKeyNorm.None)
        {
            bool ofEachHead = spec.QueryKeyNorm != QueryKeyNorm.SharedByHeads, hasBias = spec.QueryKeyNormBias;
            parts.AddRange(WithBias(WeightRole.QueryNorm, block, hasBias, ofEachHead ? spec.QuerySize : spec.HeadDim));
            parts.AddRange(WithBias(WeightRole.KeyNorm, block, hasBias, ofEachHead ? spec.KeyValueSize : spec.HeadDim));
        }

        Add(WeightRole.AttentionOutput, spec.AttentionOutputBias, d, spec.QuerySize);
        if (spec.HasOutputNorms)
        {
            AddNorm(WeightRole.AttentionOutputNorm, d);
        }

        if (hasNorm && spec.Residual != ResidualLayout.ParallelSharedNorm)
        {
            AddNorm(WeightRole.MlpNorm, d);
        }

        if (spec.GatedMlp)
        {
            Add(WeightRole.MlpGate, spec.MlpBias, spec.IntermediateSize, d);
        }

        Add(WeightRole.MlpUp, spec.MlpBias, spec.IntermediateSize, d);
        Add(WeightRole.MlpDown, spec.MlpBias, d, spec.IntermediateSize);
        if (spec.HasOutputNorms)
        {
            AddNorm(WeightRole.MlpOutputNorm, d);
        }

        return parts;
    }

    /// <summary>The tensors of a model under the family's own names, in the order of the data flow.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="family">The family that names them.</param>
    /// <exception cref="ArgumentException">The family gives one name to weights that no tensor holds together; they are named.</exception>
    internal static IEnumerable<CheckpointTensor> CheckpointTensors(DecoderSpec spec, IModelFamily family)
    {
        ArgumentNullException.ThrowIfNull(family);
        return new CheckpointLayout(spec, family).Tensors();
    }

    /// <summary>
    /// The tensors of a model under the names that a checkpoint gives them: the family's own, or those without
    /// <see cref="IModelFamily.BaseModelPrefix"/> where it was saved that way.
    /// </summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="family">The family that names them.</param>
    /// <param name="folder">The checkpoint.</param>
    internal static IEnumerable<CheckpointTensor> CheckpointTensors(DecoderSpec spec, IModelFamily family, CheckpointFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return CheckpointTensors(spec, family).Select(tensor => tensor.NamedIn(folder, family));
    }

    /// <summary>The tensor under the name that a checkpoint gives it.</summary>
    internal static CheckpointTensor NamedIn(this CheckpointTensor tensor, CheckpointFolder folder, IModelFamily family) =>
        NameIn(folder, tensor.Name, family) == tensor.Name ? tensor
        : tensor with { Pattern = tensor.Pattern[family.BaseModelPrefix.Length..] };

    internal static string NameIn(CheckpointFolder folder, string name, IModelFamily family)
    {
        string prefix = family.BaseModelPrefix;
        if (prefix.Length == 0 || folder.Contains(name) || !name.StartsWith(prefix, StringComparison.Ordinal))
        {
            return name;
        }

        string bare = name[prefix.Length..];
        return folder.Contains(bare) ? bare : name;
    }

    internal static string TensorName(WeightRole role, int block, bool isBias, IModelFamily family) =>
        family.ModuleName(role, block) + (isBias ? ".bias" : ".weight");

    private static IEnumerable<ParameterDescriptor> BeforeBlocks(DecoderSpec spec)
    {
        long d = spec.HiddenSize, embedding = spec.EmbeddingSize ?? d;
        yield return new ParameterDescriptor(WeightRole.TokenEmbedding, -1, false, [spec.VocabularySize, embedding]);
        if (spec.ProjectsEmbedding)
        {
            yield return new ParameterDescriptor(WeightRole.EmbeddingInput, -1, false, [d, embedding]);
        }

        if (spec.LearnedPositions is { } learned)
        {
            yield return new ParameterDescriptor(WeightRole.PositionEmbedding, -1, false, [(long)spec.MaxPositions + learned.Offset, d]);
        }
    }

    private static IEnumerable<ParameterDescriptor> AfterBlocks(DecoderSpec spec)
    {
        long d = spec.HiddenSize, embedding = spec.EmbeddingSize ?? d;
        foreach (var part in spec.FinalNorm ? Norm(spec, WeightRole.FinalNorm, -1, d) : [])
        {
            yield return part;
        }

        if (spec.ProjectsEmbedding)
        {
            yield return new ParameterDescriptor(WeightRole.EmbeddingOutput, -1, false, [embedding, d]);
        }

        // A tied head has no weight of its own, but may have a bias.
        if (!spec.TieWordEmbeddings)
        {
            yield return new ParameterDescriptor(WeightRole.Head, -1, false, [spec.VocabularySize, embedding]);
        }

        if (spec.HeadBias)
        {
            yield return new ParameterDescriptor(WeightRole.Head, -1, true, [spec.VocabularySize]);
        }
    }

    private static IEnumerable<ParameterDescriptor> Norm(DecoderSpec spec, WeightRole role, int block, long size) =>
        WithBias(role, block, spec.Norm == NormKind.LayerNorm && spec.NormBias, size);

    private static IEnumerable<ParameterDescriptor> WithBias(WeightRole role, int block, bool bias, params long[] shape)
    {
        yield return new ParameterDescriptor(role, block, false, shape);
        if (bias)
        {
            yield return new ParameterDescriptor(role, block, true, [shape[0]]);
        }
    }
}
