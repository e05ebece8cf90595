using DispLlm.Export;

namespace DispLlm.Tool;

/// <summary>A format of <c>displlm export</c>.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="Suffix">What the name of its output ends with, where none is given.</param>
/// <param name="Types">The types of weights that it has, the default first; empty where weights keep theirs.</param>
internal sealed record ExportFormat(string Name, string Suffix, IReadOnlyList<string> Types)
{
    private static readonly (string Name, OnnxWeightType Type)[] s_onnxTypes =
    [
        ("float32", OnnxWeightType.Float32), ("float16", OnnxWeightType.Float16), ("bfloat16", OnnxWeightType.BFloat16),
        ("int8", OnnxWeightType.Int8), ("int4", OnnxWeightType.Int4),
    ];

    private static readonly (string Name, GgufType Type)[] s_ggufTypes =
    [
        ("f16", GgufType.F16), ("f32", GgufType.F32), ("bf16", GgufType.BF16), ("q8_0", GgufType.Q8_0), ("q4_0", GgufType.Q4_0),
    ];

    /// <summary>The formats.</summary>
    public static IReadOnlyList<ExportFormat> All { get; } =
    [
        new("onnx", "-onnx", Names(s_onnxTypes))
        {
            WriteAsync = (folder, target, type, progress, cancellation) => OnnxExport.WriteAsync(
                folder, target, new OnnxExportOptions { WeightType = Find(s_onnxTypes, type) }, progress, cancellation),
        },
        new("gguf", ".gguf", Names(s_ggufTypes))
        {
            IsFile = true,
            WriteAsync = (folder, target, type, progress, cancellation) => GgufExport.WriteAsync(
                folder, target, new GgufExportOptions { Type = Find(s_ggufTypes, type) }, progress, cancellation),
        },
        new("huggingface", "-huggingface", [])
        {
            WriteAsync = (folder, target, _, progress, cancellation) =>
                HuggingFaceExport.WriteAsync(folder, target, null, progress, cancellation),
        },
        new("dense", "-dense", [])
        {
            WriteAsync = (folder, target, _, progress, cancellation) =>
                DenseExport.WriteAsync(folder, target, null, progress, cancellation),
        },
    ];

    /// <summary>Whether the output is one file rather than a folder.</summary>
    public bool IsFile { get; init; }

    /// <summary>Writes a folder to an output: folder, output, type, progress, cancellation.</summary>
    public required Func<string, string, string?, IProgress<ExportProgress>, CancellationToken, Task<ExportResult>> WriteAsync
    {
        get;
        init;
    }

    private static string[] Names<T>((string Name, T Type)[] types) => [.. types.Select(type => type.Name)];

    private static T Find<T>((string Name, T Type)[] types, string? name) => types.First(type => type.Name == name).Type;
}
