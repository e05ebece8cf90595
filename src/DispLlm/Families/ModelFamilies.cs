namespace DispLlm;

/// <summary>The families that a model may belong to: an immutable set to which callers add their own. Safe from several threads.</summary>
public sealed class ModelFamilies
{
    private readonly Dictionary<string, IModelFamily> _byModelType;

    private ModelFamilies(Dictionary<string, IModelFamily> byModelType) => _byModelType = byModelType;

    /// <summary>The families that come with the library.</summary>
    public static ModelFamilies BuiltIn { get; } = new ModelFamilies([]).Add(new LlamaFamily()).Add(new OptFamily()).Add(new PhiFamily());

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
            : throw config.Unsupported("model_type", $"known are {string.Join(", ", ModelTypes)}; add a family with ModelFamilies.Add");
    }

    /// <summary>The family of a name, as pruned checkpoints record it; null where there is none.</summary>
    /// <param name="name">The family's <see cref="IModelFamily.Name"/>.</param>
    public IModelFamily? Find(string name) => _byModelType.Values.FirstOrDefault(family => family.Name == name);

    /// <summary>Reads the family's example to the end.</summary>
    private static void Try(IModelFamily family)
    {
        DecoderSpec spec;
        IReadOnlyList<CheckpointParameter> parameters;
        try
        {
            if (!family.ModelTypes.Contains(family.Example.GetString("model_type")))
            {
                throw new ArgumentException(
                    $"Family '{family.Name}' does not claim the model_type of its own example, {family.Example.GetRaw("model_type")}.");
            }

            // Two blocks are enough to see whether names tell blocks apart.
            spec = DecoderSpec.Read(family.Example, family);
            parameters = [.. ParameterCatalog.CheckpointParameters(spec with { NumLayers = Math.Min(2, spec.NumLayers) }, family)];
        }
        catch (Exception e) when (e is DispLlmException or ArgumentOutOfRangeException)
        {
            throw new ArgumentException($"Family '{family.Name}' fails on its own example. {e.Message}", nameof(family), e);
        }

        var names = new Dictionary<string, CheckpointParameter>(StringComparer.Ordinal);
        foreach (var parameter in parameters)
        {
            if (!names.TryAdd(parameter.Name, parameter))
            {
                throw new ArgumentException(
                    $"Family '{family.Name}' gives the name '{parameter.Name}' to {names[parameter.Name].Role} of "
                    + $"block {names[parameter.Name].Block} "
                    + $"and to {parameter.Role} of block {parameter.Block}.",
                    nameof(family));
            }
        }
    }
}
