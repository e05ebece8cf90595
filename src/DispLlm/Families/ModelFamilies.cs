namespace DispLlm;

/// <summary>The families that a model may belong to: an immutable set to which callers add their own. Safe from several threads.</summary>
public sealed class ModelFamilies
{
    private readonly Dictionary<string, IModelFamily> _byModelType;

    private ModelFamilies(Dictionary<string, IModelFamily> byModelType) => _byModelType = byModelType;

    /// <summary>The families that come with the library.</summary>
    public static ModelFamilies BuiltIn { get; } = new IModelFamily[]
    {
        new CohereFamily(), new GemmaFamily(), new Gemma2Family(), new Gemma3Family(), new Glm4Family(), new Gpt2Family(),
        new GptNeoxFamily(), new GraniteFamily(), new LlamaFamily(), new MistralFamily(), new Olmo2Family(),
        new Olmo3Family(), new OptFamily(), new PhiFamily(), new Phi3Family(), new Qwen2Family(),
        new Qwen3Family(), new SmolLm3Family(), new StableLmFamily(), new Starcoder2Family(),
    }.Aggregate(new ModelFamilies([]), (families, family) => families.Add(family));

    /// <summary>The <c>model_type</c> values that are known, in alphabetical order.</summary>
    public IReadOnlyList<string> ModelTypes => [.. _byModelType.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The families, each once, in alphabetical order of their names.</summary>
    public IReadOnlyList<IModelFamily> All => [.. _byModelType.Values.Distinct().OrderBy(family => family.Name, StringComparer.Ordinal)];

    /// <summary>A set with one family more. The family is tried on its <see cref="IModelFamily.Example"/>.</summary>
    /// <param name="family">The family to add.</param>
    /// <exception cref="ArgumentException">
    /// The family claims no <c>model_type</c>, or one that another family has; or what it makes of its example contradicts itself: a spec
    /// that does not fit together, two weights of one name, or a weight without one.
    /// </exception>
    public ModelFamilies Add(IModelFamily family)
    {
        ArgumentNullException.ThrowIfNull(family);
        if (family.ModelTypes.Count == 0)
        {
            throw new ArgumentException($"Family '{family.Name}' claims no model_type.", nameof(family));
        }

        var extended = new Dictionary<string, IModelFamily>(_byModelType, StringComparer.Ordinal);
        foreach (string type in family.ModelTypes)
        {
            if (!extended.TryAdd(type, family))
            {
                throw new ArgumentException(
                    $"Family '{family.Name}' claims model_type '{type}', which belongs to family '{extended[type].Name}'.", nameof(family));
            }
        }

        if (Find(family.Name) is not null)
        {
            throw new ArgumentException(
                $"There is a family '{family.Name}' already; pruned checkpoints name their family, so names are given once.",
                nameof(family));
        }

        Try(family);
        return new ModelFamilies(extended);
    }

    /// <summary>The family of a configuration.</summary>
    /// <param name="config">The checkpoint's <c>config.json</c>.</param>
    /// <exception cref="UnsupportedModelException">No family claims its <c>model_type</c>.</exception>
    public IModelFamily Resolve(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        string type = config.GetString("model_type");
        return _byModelType.TryGetValue(type, out var family)
            ? family
            : throw config.Unsupported("model_type", $"known are {string.Join(", ", ModelTypes)}; {NearestFamily.Advise(config, All)}");
    }

    /// <summary>The family of a name, as pruned checkpoints record it; null where there is none.</summary>
    /// <param name="name">The family's <see cref="IModelFamily.Name"/>.</param>
    public IModelFamily? Find(string name) => _byModelType.Values.FirstOrDefault(family => family.Name == name);

    /// <summary>Reads the family's example to the end.</summary>
    private static void Try(IModelFamily family)
    {
        DecoderSpec spec;
        IReadOnlyList<CheckpointTensor> tensors;
        try
        {
            if (!family.ModelTypes.Contains(family.Example.GetString("model_type")))
            {
                throw new ArgumentException(
                    $"Family '{family.Name}' does not claim the model_type of its own example, {family.Example.GetRaw("model_type")}.");
            }

            // Two blocks are enough to see whether names tell blocks apart.
            spec = DecoderSpec.Read(family.Example, family);
            tensors = [.. ParameterCatalog.CheckpointTensors(spec with { NumLayers = Math.Min(2, spec.NumLayers) }, family)];
        }
        catch (Exception e) when (e is DispLlmException or ArgumentOutOfRangeException)
        {
            throw new ArgumentException($"Family '{family.Name}' fails on its own example. {e.Message}", nameof(family), e);
        }

        var names = new Dictionary<string, CheckpointTensor>(StringComparer.Ordinal);
        foreach (var tensor in tensors)
        {
            if (!names.TryAdd(tensor.Name, tensor))
            {
                throw new ArgumentException(
                    $"Family '{family.Name}' gives the name '{tensor.Name}' to {names[tensor.Name].Role} of "
                    + $"block {names[tensor.Name].Block} "
                    + $"and to {tensor.Role} of block {tensor.Block}.",
                    nameof(family));
            }
        }
    }
}
