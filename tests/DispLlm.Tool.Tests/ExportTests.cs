using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary>Models for other programs, from the command line.</summary>
public sealed class ExportTests(PrunedModelFolder folder) : IClassFixture<PrunedModelFolder>
{
    [Theory]
    [InlineData("onnx", "model-pruned-30-onnx", "model.onnx", "float32")]
    [InlineData("gguf", "model-pruned-30.gguf", "", "f16")]
    [InlineData("dense", "model-pruned-30-dense", "config.json", null)]
    [InlineData("huggingface", "model-pruned-30-huggingface", "modeling_displlm.py", null)]
    public async Task A_pruned_model_is_written_next_to_it(string format, string output, string file, string? type)
    {
        var outcome = (await folder.RunAsync("export", "./model-pruned-30", "--to", format, "--json")).With(0);
        Assert.Equal("./" + output, (string?)outcome.Json["output"]);
        Assert.Equal(type, (string?)outcome.Json["type"]);
        Assert.NotEmpty((JsonArray)outcome.Json["notes"]!);
        string path = folder[output];
        Assert.True(File.Exists(file.Length == 0 ? path : Path.Combine(path, file)), path);
        long bytes = Directory.Exists(path) ? Directory.GetFiles(path).Sum(each => new FileInfo(each).Length) : new FileInfo(path).Length;
        Assert.Equal(bytes, (long)outcome.Json["bytes"]!);
    }

    [Fact]
    public async Task Types_make_files_smaller()
    {
        async Task<long> BytesAsync(string format, string type) => (long)(await folder.RunAsync(
            "export", "./model-pruned-30", "--to", format, "--type", type, "-o", $"{format}-{type}", "--json")).With(0).Json["bytes"]!;
        Assert.True(await BytesAsync("gguf", "q8_0") < await BytesAsync("gguf", "f16"));
        Assert.True(await BytesAsync("onnx", "int4") < await BytesAsync("onnx", "float16"));
    }

    [Theory]
    [InlineData(2, "use one of onnx, gguf, huggingface, dense", "--to", "pickle")]
    [InlineData(2, "for gguf, use one of f16", "--to", "gguf", "--type", "int4")]
    [InlineData(2, "weights keep their type", "--to", "dense", "--type", "f16")]
    [InlineData(1, "exists", "--to", "onnx", "-o", "model")]
    public async Task Mistakes_are_named(int code, string says, params string[] options)
    {
        var outcome = (await folder.RunAsync(["export", "./model-pruned-30", .. options])).With(code);
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
    }
}
