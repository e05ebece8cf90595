using TorchSharp;

namespace DispLlm.Deployment;

/// <summary>A program that runs a model, with a type of weights.</summary>
/// <param name="Name">Its name in tables and on the command line.</param>
/// <param name="Suffix">What its input is called, after the name of the model; empty for the folder itself.</param>
/// <param name="ExportAsync">Makes its input: folder, path.</param>
/// <param name="Load">Loads its input: path, threads.</param>
internal sealed record Runtime(
    string Name, string Suffix, Func<string, string, Task> ExportAsync, Func<string, int, IRunningModel> Load)
{
    public static IReadOnlyList<Runtime> All { get; } =
    [
        DispLlm("DispLlm float32", torch.ScalarType.Float32),
        DispLlm("DispLlm bfloat16", torch.ScalarType.BFloat16),
        Onnx("ONNX Runtime float32", OnnxWeightType.Float32),
        Onnx("ONNX Runtime int4", OnnxWeightType.Int4),
        Gguf("llama.cpp f32", GgufType.F32),
        Gguf("llama.cpp f16", GgufType.F16),
        Gguf("llama.cpp q8_0", GgufType.Q8_0),
    ];

    private static Runtime DispLlm(string name, torch.ScalarType type) =>
        new(name, string.Empty, (_, _) => Task.CompletedTask, (path, _) => new TorchModel(path, type));

    private static Runtime Onnx(string name, OnnxWeightType type) => new(
        name, $".{type}.onnx", (folder, path) => OnnxExport.WriteAsync(folder, path, new() { WeightType = type }),
        (path, threads) => new GenAiModel(path, threads));

    private static Runtime Gguf(string name, GgufType type) => new(
        name, $".{type}.gguf", (folder, path) => GgufExport.WriteAsync(folder, path, new() { Type = type }),
        (path, threads) => new LlamaCppModel(path, threads));
}

/// <summary>A model in a program.</summary>
internal interface IRunningModel : IDisposable
{
    /// <summary>Reads a prompt, then generates tokens, and gives the seconds of both.</summary>
    (double Prefill, double Decode) Run(int[] prompt, int tokens);
}
