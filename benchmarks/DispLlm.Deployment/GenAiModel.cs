using System.Diagnostics;
using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntimeGenAI;

namespace DispLlm.Deployment;

/// <summary>A model in ONNX Runtime GenAI.</summary>
internal sealed class GenAiModel : IRunningModel
{
    private readonly Config _config;
    private readonly Model _model;

    public GenAiModel(string folder, int threads)
    {
        _config = new Config(folder);
        var session = new JsonObject { ["intra_op_num_threads"] = threads };
        var decoder = new JsonObject { ["decoder"] = new JsonObject { ["session_options"] = session } };
        _config.Overlay(new JsonObject { ["model"] = decoder }.ToJsonString());
        _model = new Model(_config);
    }

    public (double Prefill, double Decode) Run(int[] prompt, int tokens)
    {
        using var parameters = new GeneratorParams(_model);
        parameters.SetSearchOption("max_length", prompt.Length + tokens);
        parameters.SetSearchOption("min_length", prompt.Length + tokens);
        using var generator = new Generator(_model, parameters);
        var clock = Stopwatch.StartNew();
        generator.AppendTokens(prompt);
        generator.GenerateNextToken();
        double prefill = clock.Elapsed.TotalSeconds;
        for (int i = 1; i < tokens; i++)
        {
            generator.GenerateNextToken();
        }

        return (prefill, clock.Elapsed.TotalSeconds - prefill);
    }

    public void Dispose()
    {
        _model.Dispose();
        _config.Dispose();
    }
}
