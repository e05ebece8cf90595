using System.Text.Json.Nodes;
using DispLlm.Export;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Exports folders, runs the files in llama.cpp, and compares logits with the library's.</summary>
internal static class GgufComparison
{
    /// <summary>
    /// Both compute in float32, in another order of sums. llama.cpp looks GELU up in a table of float16 numbers, which are a thousandth
    /// apart.
    /// </summary>
    public static double Tolerance(Activation activation) => activation == Activation.Silu ? 1e-5 : 1e-3;

    /// <summary>Exports a folder in float32 and asserts that llama.cpp computes what the library does.</summary>
    /// <param name="folder">The checkpoint folder.</param>
    /// <param name="tokens">Sequences, <c>[batch, tokens]</c>.</param>
    /// <param name="target">The file to write.</param>
    /// <param name="context">The context that llama.cpp is given. Default: null, the file's.</param>
    /// <param name="family">The family of the model, if it is not built in.</param>
    /// <returns>The architecture and the result.</returns>
    public static async Task<(string Architecture, ExportResult Result)> AssertSame(
        string folder, Tensor tokens, string target, uint? context = null, IModelFamily? family = null)
    {
        var families = family is null ? ModelFamilies.BuiltIn : ModelFamilies.BuiltIn.Add(family);
        var result = await GgufExport.WriteAsync(folder, target, new() { Type = GgufType.F32, Name = "test", Families = families });
        using var model = PrunableModel.Load(folder, options: new LoadOptions { Families = families });
        using var gguf = new GgufModel(target, context: context);
        AssertSame(model, gguf, tokens, Tolerance(model.Spec.Activation));
        return (gguf.Metadata["general.architecture"], result);
    }

    /// <summary>Asserts that a file's logits are a model's, within a part of the largest.</summary>
    public static void AssertSame(IPrunableModel model, GgufModel gguf, Tensor tokens, double tolerance)
    {
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        long length = Math.Min(tokens.size(1), gguf.ContextLength);
        for (long row = 0; row < tokens.size(0); row++)
        {
            Tensor sequence = tokens.narrow(0, row, 1).narrow(1, 0, length);
            Tensor logits = gguf.Logits([.. sequence.data<long>().ToArray().Select(id => (int)id)]);
            Close.Within(tolerance, model.Logits(sequence)[0], logits, $"{model.Family.Name}, row {row}");
        }
    }

    /// <summary>
    /// A folder with some keys of its configuration replaced, without the tensors whose names contain a text, and others changed.
    /// </summary>
    public static string Vary(string folder, string target, JsonObject keys, string? without = null,
        Func<string, Tensor, Tensor>? change = null)
    {
        Directory.CreateDirectory(target);
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        foreach (var (key, value) in keys)
        {
            config[key] = value?.DeepClone();
        }

        File.WriteAllText(Path.Combine(target, "config.json"), config.ToJsonString());
        using var source = CheckpointFolder.Open(folder);
        var names = source.TensorNames.Where(name => without is null || !name.Contains(without, StringComparison.Ordinal)).ToList();
        using var writer = SafetensorsWriter.Create(Path.Combine(target, "model.safetensors"), names.Select(source.Info));
        foreach (string name in names)
        {
            using var tensor = source.Read(name);
            writer.Write(name, change?.Invoke(name, tensor) ?? tensor);
        }

        writer.Complete();
        return target;
    }
}
