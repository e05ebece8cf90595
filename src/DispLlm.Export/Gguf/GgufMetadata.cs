using System.Globalization;

namespace DispLlm.Export;

/// <summary>The metadata of a GGUF file, but for the tokenizer's.</summary>
internal static class GgufMetadata
{
    private const uint QuantizationVersion = 2;

    /// <summary>Describes a model.</summary>
    /// <param name="source">The checkpoint.</param>
    /// <param name="layout">Its layout in the file.</param>
    /// <param name="tensors">Its tensors in the file.</param>
    /// <param name="options">The type of its matrices, and its name.</param>
    public static IEnumerable<GgufValue> Describe(
        CheckpointSource source, GgufLayout layout, IReadOnlyList<GgufTensor> tensors, GgufExportOptions options)
    {
        var (architecture, spec) = (layout.Architecture, source.Spec);
        GgufValue Own(string key, object value) => new($"{architecture.Name}.{key}", value);
        GgufValue ByBlock(string key, Func<int, int> count) => Own(
            key, architecture.VariesByBlock ? Enumerable.Range(0, spec.NumLayers).Select(count).ToArray() : (object)(uint)count(0));
        return
        [
            new("general.architecture", architecture.Name),
            new("general.type", "model"),
            new("general.name", options.Name ?? Path.GetFileName(source.Folder.FolderPath)),
            new("general.size_label", SizeLabel(tensors.Sum(tensor => tensor.Count))),
            new("general.file_type", GgufEncoding.FileTypeId(options.Type)),
            new("general.quantization_version", QuantizationVersion),
            Own("block_count", (uint)spec.NumLayers),
            Own("context_length", (uint)GgufRotary.Context(architecture, spec).Length),
            Own("embedding_length", (uint)layout.StreamSize),
            ByBlock("feed_forward_length", layout.MlpWidth),
            ByBlock("attention.head_count", layout.Heads),
            ByBlock("attention.head_count_kv", layout.KeyValueHeads),
            Own("attention.key_length", (uint)spec.HeadDim),
            Own("attention.value_length", (uint)spec.HeadDim),
            Own($"attention.layer_norm_{(spec.Norm == NormKind.RmsNorm ? "rms_" : string.Empty)}epsilon", (float)spec.NormEpsilon),
            Own("vocab_size", (uint)spec.VocabularySize),
            .. architecture.Residuals.Contains(ResidualLayout.Parallel)
                ? [Own("use_parallel_residual", spec.Residual == ResidualLayout.Parallel)] : Array.Empty<GgufValue>(),
            .. GgufRotary.Metadata(architecture, spec),
            .. GgufFactors.Metadata(architecture, spec),
        ];
    }

    /// <summary>A number of parameters as model names have it: 135M, 6.7B.</summary>
    private static string SizeLabel(long parameters) => parameters switch
    {
        >= 10_000_000_000 => Label(parameters / 1e9, "0", "B"),
        >= 1_000_000_000 => Label(parameters / 1e9, "0.#", "B"),
        >= 1_000_000 => Label(parameters / 1e6, "0", "M"),
        _ => Label(parameters / 1e3, "0", "K"),
    };

    private static string Label(double number, string format, string unit) => number.ToString(format, CultureInfo.InvariantCulture) + unit;
}
