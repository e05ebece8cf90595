using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Pruning;

/// <summary>What a pruned folder is for other programs: an ordinary model, one for the modeling file, or one that none opens.</summary>
public sealed class PrunedConfigTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Where only sizes differ, the folder is an ordinary model: without anything of ours in it, it computes the same.</summary>
    [Theory]
    [InlineData("llama-mha", PruningLayout.Stock)]
    [InlineData("llama-gqa-biases-tied", PruningLayout.Stock)]
    [InlineData("mistral-nemo", PruningLayout.Stock)]
    [InlineData("qwen2", PruningLayout.Stock)]
    [InlineData("qwen3", PruningLayout.Stock)]
    [InlineData("phi-2-style", PruningLayout.Stock)]
    [InlineData("phi3-sliding", PruningLayout.Stock)]
    [InlineData("llama-mha", PruningLayout.Mlp)]
    [InlineData("gpt2", PruningLayout.Mlp)]
    [InlineData("opt-350m-style", PruningLayout.Mlp)]
    [InlineData("gemma2", PruningLayout.Mlp)]
    [InlineData("gpt-neox-serial", PruningLayout.Mlp)]
    public void An_ordinary_model_is_written_where_only_sizes_differ(string name, PruningLayout layout)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var fixture = new Fixture(name);
        var (target, config) = Build(fixture, shape => Narrow(shape, layout));
        Assert.False(config.ContainsKey("auto_map"));
        Assert.False(File.Exists(Path.Combine(target, "modeling_displlm.py")));
        var original = JsonNode.Parse(File.ReadAllText(Path.Combine(fixture.Folder, "config.json")))!.AsObject();
        Assert.Equal(original["model_type"]!.ToJsonString(), config["model_type"]!.ToJsonString());
        Assert.Equal(original["architectures"]!.ToJsonString(), config["architectures"]!.ToJsonString());

        using var pruned = PrunableModel.Load(target);
        Assert.NotNull(pruned.Plan);
        Tensor tokens = fixture.Expected("input_ids"), expected = pruned.Logits(tokens);
        config.Remove("displlm");
        File.WriteAllText(Path.Combine(target, "config.json"), config.ToJsonString());
        File.Delete(Path.Combine(target, SelectionPlan.FileName));
        using var ordinary = PrunableModel.Load(target);
        Assert.Null(ordinary.Plan);
        Close.Within(1e-6, expected, ordinary.Logits(tokens), name);
    }

    [Theory]
    [InlineData("llama-mha", PruningLayout.Stream, "DispLlmLlamaForCausalLM", 24)]
    [InlineData("qwen3", PruningLayout.Stream, "DispLlmQwen3ForCausalLM", 24)]
    [InlineData("gpt2", PruningLayout.Stream, "DispLlmPrunedForCausalLM", null)]
    [InlineData("gemma", PruningLayout.Stock, "DispLlmPrunedForCausalLM", null)]
    [InlineData("phi3-longrope", PruningLayout.Stock, "DispLlmPrunedForCausalLM", null)]
    [InlineData("opt-350m-style", PruningLayout.Blocks, "DispLlmPrunedForCausalLM", null)]
    [InlineData("seed-oss", PruningLayout.Blocks, "DispLlmPrunedForCausalLM", null)]
    [InlineData("llama-mha", PruningLayout.Blocks, "DispLlmLlamaForCausalLM", null)]
    public void A_model_that_no_class_computes_is_named_so(string name, PruningLayout layout, string architecture, int? hidden)
    {
        using var fixture = new Fixture(name);
        var (target, config) = Build(fixture, shape => Narrow(shape, layout));
        Assert.Equal(architecture, config["architectures"]![0]!.GetValue<string>());
        bool opens = architecture != "DispLlmPrunedForCausalLM";
        Assert.Equal(opens, config.ContainsKey("auto_map"));
        Assert.Equal(opens, File.Exists(Path.Combine(target, "modeling_displlm.py")));
        Assert.Equal(!opens, config["model_type"]!.GetValue<string>() == "displlm_pruned");
        if (hidden is { } size)
        {
            Assert.Equal(size, config["hidden_size"]!.GetValue<int>());
        }
    }

    [Theory]
    [InlineData("gemma3-config-v5", """{"rope_theta":500000.0,"rope_local_base_freq":5000.0}""")]
    [InlineData("phi3-longrope-config-v5",
        """{"rope_theta":10000.0,"rope_scaling":{"type":"longrope","short_factor":[1.0,1.1],"long_factor":[1.5,3.2]}}""")]
    [InlineData("qwen3-config-v5", """{"rope_theta":10000.0}""")]
    public void Rotary_keys_of_both_layouts_are_written(string name, string expected)
    {
        using var fixture = new Fixture(name);
        var (target, config) = Build(fixture, shape => Narrow(shape, PruningLayout.Blocks));
        Assert.All(
            JsonNode.Parse(expected)!.AsObject(), entry => Assert.Equal(entry.Value!.ToJsonString(), config[entry.Key]!.ToJsonString()));
        using var dense = PrunableModel.Load(fixture.Folder);
        using var pruned = PrunableModel.Load(target);
        Assert.Equal(dense.Spec.GetAttention(0).Rotary!.Theta, pruned.Spec.GetAttention(0).Rotary!.Theta);
    }

    /// <summary>Published folders may name files of code, which are not copied and compute the dense model.</summary>
    [Theory]
    [InlineData(PruningLayout.Mlp, null)]
    [InlineData(PruningLayout.Blocks, "AutoModel,AutoModelForCausalLM")]
    public void Code_of_the_dense_model_is_not_named(PruningLayout layout, string? keys)
    {
        string source = _folder.Below("source");
        Directory.CreateDirectory(source);
        foreach (string file in Directory.GetFiles(Fixture.GetFolder("llama-mha")))
        {
            File.Copy(file, Path.Combine(source, Path.GetFileName(file)));
        }

        OlderFolders.EditConfig(source, config => config["auto_map"] = new JsonObject { ["AutoConfig"] = "configuration_x.XConfig" });
        using var model = PrunableModel.Load(source);
        string target = _folder.Below("pruned");
        new PrunedModelBuilder(source, Narrow(ModelShape.FromSpec(model.Spec), layout)).Build(target);
        var written = JsonNode.Parse(File.ReadAllText(Path.Combine(target, "config.json")))!["auto_map"]?.AsObject();
        Assert.Equal(keys, written is null ? null : string.Join(',', written.Select(entry => entry.Key)));
    }

    /// <summary>The first features, in every layout: what is not free is kept whole, and blocks differ where they may.</summary>
    private static SelectionPlan Narrow(ModelShape shape, PruningLayout layout)
    {
        IReadOnlyList<int> Kept(int block, SelectionSite site) => Enumerable.Range(0, !layout.Selects(site) ? shape.SiteSize(site)
            : site == SelectionSite.AttentionGroups ? Math.Min(shape.SiteSize(site), Math.Max(block, shape.SiteSize(site) - 1))
            : (shape.SiteSize(site) * 3 / 4) - (layout is PruningLayout.Stock or PruningLayout.Mlp || !site.Equals(SelectionSite.MlpHidden)
                ? 0 : block)).ToArray();
        return new SelectionPlan(
            shape, [.. Enumerable.Range(0, shape.NumLayers).Select(block => new BlockSelection(SiteMap.Create(site => Kept(block, site))))],
            layout);
    }

    private (string Target, JsonObject Config) Build(Fixture fixture, Func<ModelShape, SelectionPlan> plan)
    {
        var families = ModelFamilies.BuiltIn.Add(new AddYourOwnFamily.SeedOssFamily());
        using var source = CheckpointFolder.Open(fixture.Folder);
        var family = families.Resolve(source.Config);
        string target = _folder.Below("pruned");
        var shape = ModelShape.FromSpec(DecoderSpec.Read(source, source.Config, family));
        new PrunedModelBuilder(fixture.Folder, family, plan(shape)).Build(target);
        return (target, JsonNode.Parse(File.ReadAllText(Path.Combine(target, "config.json")))!.AsObject());
    }
}
