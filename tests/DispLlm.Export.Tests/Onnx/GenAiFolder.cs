using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntimeGenAI;

namespace DispLlm.Tests;

/// <summary>An exported folder in ONNX Runtime GenAI.</summary>
internal static class GenAiFolder
{
    /// <summary>The longest sequence, as the folder says.</summary>
    public static int ContextLength(string folder) =>
        JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "genai_config.json")))!["model"]!["context_length"]!.GetValue<int>();

    /// <summary>The likeliest tokens after a prompt.</summary>
    public static int[] Generate(Model model, IReadOnlyList<int> prompt, int count)
    {
        using var parameters = new GeneratorParams(model);
        parameters.SetSearchOption("max_length", prompt.Count + count);
        using var generator = new Generator(model, parameters);
        generator.AppendTokens([.. prompt]);
        while (!generator.IsDone())
        {
            generator.GenerateNextToken();
        }

        return [.. generator.GetSequence(0)[prompt.Count..]];
    }
}
