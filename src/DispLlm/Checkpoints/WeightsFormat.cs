namespace DispLlm.Checkpoints;

/// <summary>A format in which weights are published: what its files are called in a folder, and who opens one.</summary>
/// <param name="SingleFile">Name of the weights where they are one file.</param>
/// <param name="IndexFile">Name of the index where they are several.</param>
/// <param name="Open">Opens one file by its path.</param>
internal sealed record WeightsFormat(string SingleFile, string IndexFile, Func<string, WeightsFile> Open)
{
    /// <summary>The format that is written too.</summary>
    public static WeightsFormat Safetensors { get; } = new("model.safetensors", "model.safetensors.index.json", SafetensorsFile.Open);

    /// <summary>The formats that are read, best first: a folder that has both is read by the first.</summary>
    public static IReadOnlyList<WeightsFormat> All { get; } =
    [
        Safetensors,
        new("pytorch_model.bin", "pytorch_model.bin.index.json", PyTorchFile.Open),
    ];
}
