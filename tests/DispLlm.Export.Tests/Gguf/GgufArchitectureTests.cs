using System.Text.Json.Nodes;
using AddYourOwnFamily;
using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>llama.cpp computes what the library does, dense and pruned, for every family that it knows.</summary>
public sealed class GgufArchitectureTests
{
    [Theory]
    [InlineData("llama-2023", "llama")]
    [InlineData("llama-config-v5", "llama")]
    [InlineData("llama-gqa-biases-tied", "llama")]
    [InlineData("llama-mha", "llama")]
    [InlineData("llama-rope-linear", "llama")]
    [InlineData("llama-rope-llama3", "llama")]
    [InlineData("llama-sharded-bf16", "llama")]
    [InlineData("mistral-nemo", "llama")]
    [InlineData("mistral-sliding", "llama")]
    [InlineData("qwen2", "qwen2")]
    [InlineData("qwen2-sliding", "qwen2")]
    [InlineData("qwen3", "qwen3")]
    [InlineData("phi3-sliding", "phi3")]
    [InlineData("gemma", "gemma")]
    [InlineData("gemma2", "gemma2")]
    [InlineData("gemma3", "gemma3")]
    [InlineData("granite", "granite")]
    [InlineData("olmo2", "olmo2")]
    [InlineData("olmo3", "olmo2")]
    [InlineData("glm4", "glm4")]
    [InlineData("stablelm", "stablelm")]
    [InlineData("stablelm-parallel", "stablelm")]
    [InlineData("starcoder2", "starcoder2")]
    [InlineData("gpt-neox-parallel", "gptneox")]
    [InlineData("gpt-neox-serial", "gptneox")]
    [InlineData("gpt2", "gpt2")]
    [InlineData("gpt2-published", "gpt2")]
    [InlineData("phi-1.5-style", "phi2")]
    [InlineData("phi-2-style", "phi2")]
    public async Task Dense_model_is_the_same_in_its_own_architecture(string name, string architecture)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        var exported = await GgufComparison.AssertSame(fixture.Folder, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal(architecture, exported.Architecture);
    }

    /// <summary>llama.cpp rounds a context up to 256 tokens, and takes the factors by it.</summary>
    [Theory]
    [InlineData(16)]
    [InlineData(512)]
    public async Task LongRope_takes_its_factors_by_the_context(int original)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("phi3-longrope");
        string varied = GgufComparison.Vary(
            fixture.Folder, folder.Below("varied"),
            new JsonObject { ["original_max_position_embeddings"] = original, ["max_position_embeddings"] = 4 * original });
        var exported = await GgufComparison.AssertSame(varied, fixture.Expected("input_ids"), folder.Below("model.gguf"), context: 256);
        Assert.Equal("phi3", exported.Architecture);
        Assert.Contains(exported.Result.Notes, note => note.Contains("LongRoPE", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("llama-mha", "llama")]
    [InlineData("qwen2", "qwen2")]
    [InlineData("qwen3", "qwen3")]
    public async Task Yarn_is_the_same(string name, string architecture)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        var yarn = new JsonObject { ["rope_type"] = "yarn", ["factor"] = 4.0, ["original_max_position_embeddings"] = 16 };
        string varied = GgufComparison.Vary(fixture.Folder, folder.Below("yarn"), new JsonObject { ["rope_scaling"] = yarn });
        var exported = await GgufComparison.AssertSame(varied, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal(architecture, exported.Architecture);
    }

    [Fact]
    public async Task Blocks_without_positions_are_the_same_where_llama_cpp_has_them()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("smollm3");
        string varied = GgufComparison.Vary(
            fixture.Folder, folder.Below("varied"), new JsonObject { ["no_rope_layers"] = new JsonArray(1, 1, 1) });
        var exported = await GgufComparison.AssertSame(varied, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal("smollm3", exported.Architecture);
    }

    [Fact]
    public async Task Command_R_is_the_same_without_norms_of_queries_and_keys()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("cohere");
        string varied = GgufComparison.Vary(
            fixture.Folder, folder.Below("varied"), new JsonObject { ["use_qk_norm"] = false }, without: "_norm.");
        var exported = await GgufComparison.AssertSame(varied, fixture.Expected("input_ids"), folder.Below("model.gguf"));
        Assert.Equal("command-r", exported.Architecture);
    }

    [Fact]
    public async Task A_family_from_outside_is_written_as_what_it_computes()
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture("seed-oss");
        var exported = await GgufComparison.AssertSame(
            fixture.Folder, fixture.Expected("input_ids"), folder.Below("model.gguf"), family: new SeedOssFamily());
        Assert.Equal("llama", exported.Architecture);
    }

    [Theory]
    [InlineData("cohere", "QueryKeyNorm")]
    [InlineData("phi-qk-norm-gqa", "QueryKeyNorm")]
    [InlineData("smollm3", "Rotary")]
    [InlineData("gemma3-config-v5", "LayerAttention")]
    [InlineData("qwen3-config-v5", "bias")]
    [InlineData("opt-pre-norm", "model_type")]
    public async Task What_llama_cpp_does_not_compute_is_refused_by_name(string name, string key)
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("model.gguf");
        var error = await Assert.ThrowsAsync<ExportException>(() => GgufExport.WriteAsync(Fixture.GetFolder(name), target));
        Assert.Equal(("gguf", key), (error.Format, error.Key));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }
}
