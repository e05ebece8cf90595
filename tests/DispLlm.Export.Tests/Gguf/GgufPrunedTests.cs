using System.Text.Json.Nodes;
using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>Pruned models in llama.cpp: what is really smaller there, what is zeros, and what is refused.</summary>
public sealed class GgufPrunedTests
{
    [Theory]
    [InlineData("llama-mha", "paper", "deci")]
    [InlineData("llama-mha", "all", "deci")]
    [InlineData("llama-mha", "blocks", "deci")]
    [InlineData("llama-mha", "blocks-0", "deci")]
    [InlineData("llama-mha", "blocks-1", "deci")]
    [InlineData("llama-mha", "mlp", "deci")]
    [InlineData("llama-mha", "stream", "deci")]
    [InlineData("llama-mha", "stock", "llama")]
    [InlineData("llama-gqa-biases-tied", "all", "deci")]
    [InlineData("llama-gqa-biases-tied", "blocks-0", "deci")]
    [InlineData("llama-gqa-biases-tied", "blocks-1", "deci")]
    [InlineData("llama-gqa-biases-tied", "stock", "llama")]
    [InlineData("llama-rope-llama3", "all", "deci")]
    [InlineData("mistral-nemo", "all", "deci")]
    [InlineData("qwen2", "all", "deci")]
    [InlineData("qwen2", "stock", "llama")]
    [InlineData("granite", "all", "deci")]
    [InlineData("granite", "stream", "deci")]
    [InlineData("granite", "stock", "granite")]
    [InlineData("phi3-sliding", "all", "deci")]
    [InlineData("phi3-sliding", "stock", "llama")]
    [InlineData("qwen3", "all", "openelm")]
    [InlineData("qwen3", "blocks-0", "openelm")]
    [InlineData("qwen3", "blocks-1", "openelm")]
    [InlineData("qwen3", "stream", "openelm")]
    [InlineData("qwen3", "stock", "qwen3")]
    [InlineData("gemma", "paper", "gemma")]
    [InlineData("gemma", "stock", "gemma")]
    [InlineData("gemma2", "blocks-1", "gemma2")]
    [InlineData("gemma2", "stock", "gemma2")]
    [InlineData("gemma3", "blocks", "gemma3")]
    [InlineData("gemma3", "stream", "gemma3")]
    [InlineData("olmo2", "mlp", "olmo2")]
    [InlineData("olmo3", "mlp", "olmo2")]
    [InlineData("glm4", "blocks-0", "glm4")]
    [InlineData("glm4", "stock", "glm4")]
    [InlineData("stablelm", "all", "stablelm")]
    [InlineData("stablelm-parallel", "blocks-1", "stablelm")]
    [InlineData("starcoder2", "all", "starcoder2")]
    [InlineData("gpt-neox-parallel", "all", "gptneox")]
    [InlineData("gpt-neox-serial", "blocks-0", "gptneox")]
    [InlineData("gpt2", "all", "gpt2")]
    [InlineData("gpt2-published", "blocks-1", "gpt2")]
    [InlineData("phi-1.5-style", "all", "phi2")]
    [InlineData("phi-2-style", "blocks-0", "phi2")]
    public async Task Pruned_model_is_the_same(string name, string plan, string architecture)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        string pruned = await Prune(fixture.Folder, folder, plan);
        var exported = await GgufComparison.AssertSame(pruned, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal(architecture, exported.Architecture);
    }

    /// <summary>Features that are not rotated have frequencies that rotate nothing.</summary>
    [Fact]
    public async Task Heads_that_are_rotated_in_part_are_the_same_in_an_architecture_that_rotates_them_whole()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("phi3-sliding");
        string varied = GgufComparison.Vary(fixture.Folder, folder.Below("varied"), new JsonObject { ["partial_rotary_factor"] = 0.5 });
        string pruned = await Prune(varied, folder, "all");
        var exported = await GgufComparison.AssertSame(pruned, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal("deci", exported.Architecture);
    }

    [Fact]
    public async Task LongRope_is_the_same_in_an_architecture_with_widths_by_block()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("phi3-longrope");
        var factors = new JsonObject
        {
            ["type"] = "longrope",
            ["long_factor"] = new JsonArray(1.5, 3.2, 4.9, 6.0),
            ["short_factor"] = new JsonArray(1.0, 1.1, 1.2, 1.3),
        };
        string varied = GgufComparison.Vary(
            fixture.Folder, folder.Below("varied"), new JsonObject { ["partial_rotary_factor"] = 1.0, ["rope_scaling"] = factors });
        string pruned = await Prune(varied, folder, "all");
        var exported = await GgufComparison.AssertSame(pruned, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal("deci", exported.Architecture);
    }

    [Theory]
    [InlineData("gemma2", "paper", "NormPlacement")]
    [InlineData("olmo2", "all", "NormPlacement")]
    [InlineData("olmo2", "blocks", "QueryKeyNorm")]
    [InlineData("gpt2", "stock", "StreamSize")]
    public async Task What_zeros_would_change_is_refused_by_name(string name, string plan, string key)
    {
        using var folder = new TemporaryFolder();
        string pruned = await Prune(Fixture.GetFolder(name), folder, plan);
        string target = folder.Below("model.gguf");
        var error = await Assert.ThrowsAsync<ExportException>(() => GgufExport.WriteAsync(pruned, target));
        Assert.Equal(("gguf", key), (error.Format, error.Key));
        Assert.False(File.Exists(target));
    }

    [Fact]
    public async Task Selection_before_the_norm_is_refused()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("llama-mha");
        using var model = PrunableModel.Load(fixture.Folder);
        string pruned = folder.Below("pruned");
        await new PrunedModelBuilder(fixture.Folder, fixture.Plan(model, NormOrder.SelectThenNorm)).BuildAsync(pruned);
        var error = await Assert.ThrowsAsync<ExportException>(() => GgufExport.WriteAsync(pruned, folder.Below("model.gguf")));
        Assert.Equal("NormOrder", error.Key);
    }

    [Fact]
    public async Task Notes_say_what_is_smaller_and_what_is_zeros()
    {
        using var folder = new TemporaryFolder();
        string paper = await Prune(Fixture.GetFolder("llama-mha"), folder, "paper");
        var dense = await GgufExport.WriteAsync(Fixture.GetFolder("llama-mha"), folder.Below("dense.gguf"));
        var pruned = await GgufExport.WriteAsync(paper, folder.Below("paper.gguf"));
        Assert.Contains(pruned.Notes, note => note.StartsWith("S1, S2, S3, S5: what is not kept is zeros", StringComparison.Ordinal));
        Assert.Contains("Smaller in the file than the dense model: S4 (MLPs).", pruned.Notes);
        Assert.DoesNotContain(pruned.Notes, note => note.StartsWith("S4", StringComparison.Ordinal));
        Assert.True(pruned.Bytes < dense.Bytes, $"{pruned.Bytes} bytes, dense {dense.Bytes}");

        string filled = await Prune(Fixture.GetFolder("gpt2"), folder, "all", "filled");
        var result = await GgufExport.WriteAsync(filled, folder.Below("filled.gguf"));
        Assert.Contains(result.Notes, note => note.StartsWith("S4: MLPs are filled with zeros", StringComparison.Ordinal));
        Assert.Contains(result.Notes, note => note.StartsWith("S6: heads are filled with zeros", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("blocks", "S4 (MLPs), S6 (heads).")]
    [InlineData("stream", "of 32 features), S4 (MLPs).")]
    public async Task Layouts_without_index_operations_are_smaller_everywhere(string plan, string parts)
    {
        using var folder = new TemporaryFolder();
        string pruned = await Prune(Fixture.GetFolder("llama-mha"), folder, plan);
        var result = await GgufExport.WriteAsync(pruned, folder.Below("model.gguf"));
        string smaller = Assert.Single(result.Notes, note => note.StartsWith("Smaller in the file", StringComparison.Ordinal));
        Assert.EndsWith(parts, smaller, StringComparison.Ordinal);
        Assert.DoesNotContain(result.Notes, note => note.Contains("zeros", StringComparison.Ordinal));
    }

    private static async Task<string> Prune(string dense, TemporaryFolder folder, string plan, string name = "pruned")
    {
        using var model = PrunableModel.Load(dense);
        string target = folder.Below(name);
        await new PrunedModelBuilder(dense, GgufPlans.Create(model, plan)).BuildAsync(target);
        return target;
    }
}
