namespace DispLlm;

/// <summary>
/// <c>modeling_displlm.py</c>, with which transformers opens a pruned folder: one file for all families, which subclasses the stock classes
/// and copies none of them.
/// </summary>
internal static class ModelingFile
{
    public const string Name = "modeling_displlm.py";

    /// <summary>Writes the file into a folder.</summary>
    public static void Write(string folder)
    {
        using var file = typeof(ModelingFile).Assembly.GetManifestResourceStream(Name)!;
        AtomicFile.Write(Path.Combine(folder, Name), file.CopyTo);
    }
}
