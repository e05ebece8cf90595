namespace DispLlm.Modeling;

/// <summary>The known family that an unknown model is most likely built like. Thread-safe.</summary>
internal static class NearestFamily
{
    /// <summary>What to do about a <c>model_type</c> that no family claims, as the end of a message.</summary>
    /// <param name="config">The unknown model's configuration.</param>
    /// <param name="families">The known families.</param>
    public static string Advise(ModelConfig config, IReadOnlyList<IModelFamily> families)
    {
        string type = config.GetString("model_type");
        if (config.Has("text_config"))
        {
            return "this one holds a language model among others, under 'text_config'; take a checkpoint of the language model alone";
        }

        var nearest = families
            .Select(family => (
                Family: family, Spec: TryRead(config, family), Likeness: family.ModelTypes.Max(known => Likeness(type, known))))
            .Where(candidate => candidate.Spec is not null)
            .OrderByDescending(candidate => candidate.Likeness)
            .ThenBy(candidate => candidate.Family.Name != "llama")
            .FirstOrDefault();
        if (nearest.Spec is null)
        {
            return "no known family can read its other keys";
        }

        string tensor = ParameterCatalog.TensorName(WeightRole.MlpDown, 0, isBias: false, nearest.Family);
        return $"the nearest is '{nearest.Family.Name}'. If the model is built alike ({SpecDescription.Describe(nearest.Spec)}; tensors "
            + $"named as '{tensor}'), derive a family from {nearest.Family.GetType().Name} that claims '{type}', and add it with "
            + $"{nameof(ModelFamilies)}.{nameof(ModelFamilies.Add)} (docs/add-a-family.md)";
    }

    private static DecoderSpec? TryRead(ModelConfig config, IModelFamily family)
    {
        try
        {
            return DecoderSpec.Read(config, family);
        }
        catch (DispLlmException)
        {
            return null;
        }
    }

    /// <summary>1 minus the edit distance of two names as a share of the longer one.</summary>
    private static double Likeness(string name, string other) =>
        1 - ((double)EditDistance.Between(name, other) / Math.Max(1, Math.Max(name.Length, other.Length)));
}
