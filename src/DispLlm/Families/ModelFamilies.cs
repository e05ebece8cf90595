namespace DispLlm;

/// <summary>The families that a model may belong to: an immutable set to which callers add their own.</summary>
public sealed class ModelFamilies
{
    private readonly Dictionary<string, IModelFamily> _byModelType;

    private ModelFamilies(Dictionary<string, IModelFamily> byModelType) => _byModelType = byModelType;

    /// <summary>The families that come with the library.</summary>
    public static ModelFamilies BuiltIn { get; } = new ModelFamilies([]).With(new LlamaFamily());

    /// <summary>The <c>model_type</c> values that are known, in alphabetical order.</summary>
    public IReadOnlyList<string> ModelTypes => [.. _byModelType.Keys.Order(StringComparer.Ordinal)];

    /// <summary>This set and one family more.</summary>
    /// <param name="family">The family to add.</param>
    /// <exception cref="ArgumentException">The family claims no <c>model_type</c>, or one that another family has.</exception>
    public ModelFamilies With(IModelFamily family)
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

        return new ModelFamilies(extended);
    }

    /// <summary>The family of a configuration.</summary>
    /// <param name="config">The checkpoint's <c>config.json</c>.</param>
    /// <exception cref="UnsupportedModelException">No family claims its <c>model_type</c>.</exception>
    public IModelFamily Of(ModelConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        string type = config.GetString("model_type");
        return _byModelType.TryGetValue(type, out var family)
            ? family
            : throw config.Unsupported("model_type", $"known are {string.Join(", ", ModelTypes)}; add a family with ModelFamilies.With");
    }

    /// <summary>The family of a name, as pruned checkpoints record it; null where there is none.</summary>
    /// <param name="name">The family's <see cref="IModelFamily.Name"/>.</param>
    public IModelFamily? Named(string name) => _byModelType.Values.FirstOrDefault(family => family.Name == name);
}
