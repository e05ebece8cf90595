namespace DispLlm;

/// <summary>A pruned model was given where a dense one is needed: a model is pruned once.</summary>
public sealed class ModelAlreadyPrunedException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="folder">The folder of the pruned model; empty where it has none.</param>
    public ModelAlreadyPrunedException(string folder)
        : base($"The model{(string.IsNullOrEmpty(folder) ? string.Empty : $" in '{folder}'")} is pruned already: load the dense checkpoint "
            + "it was pruned from.") =>
        Folder = folder;

    /// <summary>The folder of the pruned model; empty where it has none.</summary>
    public string Folder { get; }

    internal static void ThrowIfPruned(IPrunableModel model)
    {
        if (model.Plan is not null)
        {
            throw new ModelAlreadyPrunedException(model.Folder);
        }
    }
}
