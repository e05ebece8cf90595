using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

public sealed class ModelInputTests
{
    [Fact]
    public void Tokens_that_make_no_sense_are_refused_and_named()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        void Refused(Tensor tokens, string culprit) =>
            Assert.Contains(culprit, Assert.Throws<ArgumentException>(() => model.Logits(tokens)).Message, StringComparison.Ordinal);
        Refused(ones(3, ScalarType.Int64), "[3]");
        Refused(ones([1, 3], ScalarType.Float32), "Float32");
        Refused(full([1, 3], 64, ScalarType.Int64), "64");
        Refused(full([1, 3], -1, ScalarType.Int64), "-1");
        Refused(ones([1, 129], ScalarType.Int64), "129");
        var error = Assert.Throws<ArgumentException>(() => model.Logits(ones([1, 3], ScalarType.Int64), new Gates(ones(5))));
        Assert.Contains("[5]", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"model_type\": \"mamba\"", "model_type", "mamba")]
    [InlineData("\"hidden_act\": \"tanhshrink\"", "hidden_act", "tanhshrink")]
    [InlineData("\"rope_scaling\": {\"rope_type\": \"proportional\", \"factor\": 2.0}", "rope_scaling.rope_type", "proportional")]
    [InlineData("\"rope_scaling\": {\"type\": \"dynamic\", \"alpha\": 2.0}", "rope_scaling.type", "dynamic")]
    [InlineData("\"attn_logit_softcapping\": 50.0", "attn_logit_softcapping", "50.0")]
    [InlineData("\"layer_types\": [\"sliding_attention\", \"full_attention\"]", "layer_types", "sliding_attention")]
    [InlineData("\"num_local_experts\": 8", "num_local_experts", "8")]
    [InlineData("\"no_rope_layers\": [1, 0]", "no_rope_layers", "[1, 0]")]
    [InlineData("\"alibi\": true", "alibi", "true")]
    [InlineData("\"num_key_value_heads\": 3", "num_key_value_heads", "3")]
    [InlineData("\"head_dim\": 7", "head_dim", "7")]
    [InlineData("\"partial_rotary_factor\": 0.5", "partial_rotary_factor", "0.5")]
    [InlineData("\"logits_scaling\": 8.0", "logits_scaling", "8")]
    [InlineData("\"sliding_window\": 4096", "sliding_window", "4096")]
    [InlineData("\"quantization_config\": {\"bits\": 4}", "quantization_config", "{")]
    public void A_configuration_that_is_not_supported_is_named(string setting, string key, string value)
    {
        var error = Assert.Throws<UnsupportedModelException>(() => Read(setting));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains(value, error.Message, StringComparison.Ordinal);
        Assert.Contains("test.json", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"hidden_size\": \"wide\"", "hidden_size", "wide")]
    [InlineData("\"num_hidden_layers\": 0", "num_hidden_layers", "0")]
    [InlineData("\"num_hidden_layers\": 2.5", "num_hidden_layers", "2.5")]
    [InlineData("\"rms_norm_eps\": -1", "rms_norm_eps", "-1")]
    [InlineData("\"attention_bias\": \"yes\"", "attention_bias", "yes")]
    [InlineData("\"rope_scaling\": {\"rope_type\": \"linear\"}", "rope_scaling.factor", "factor")]
    [InlineData("\"vocab_size\": null", "vocab_size", "vocab_size")]
    public void A_configuration_value_of_the_wrong_kind_is_named(string setting, string key, string value)
    {
        var error = Assert.ThrowsAny<DispLlmException>(() => Read(setting));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains(value, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Layers_may_be_spread_over_several_devices()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.FromConfig(
            ModelConfig.Load(Path.Combine(Fixture.GetFolder("llama-sharded-bf16"), "config.json")), new OddBlocksElsewhere());
        Assert.Equal(DeviceType.CPU, model.Weight(WeightRole.Query, 2).device_type);
        Assert.Equal(DeviceType.META, model.Weight(WeightRole.Query, 3).device_type);
    }

    [Theory]
    [InlineData("llama2", "'llama'", "LlamaFamily")]
    [InlineData("granit", "'granite'", "GraniteFamily")]
    [InlineData("aquila", "'llama'", "RMS norm before each sublayer; rotary, whole heads; plain; gated, SiLU; sequential")]
    public void An_unknown_model_type_names_the_nearest_family_and_what_has_to_be_equal(string type, params string[] reasons)
    {
        var error = Assert.Throws<UnsupportedModelException>(() => Read($"\"model_type\": \"{type}\""));
        Assert.All(reasons, reason => Assert.Contains(reason, error.Message, StringComparison.Ordinal));
        Assert.Contains("down_proj.weight", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_families_of_one_model_type_are_refused() =>
        Assert.Contains("'llama'", Assert.Throws<ArgumentException>(() => ModelFamilies.BuiltIn.Add(new LlamaFamily())).Message,
            StringComparison.Ordinal);

    [Fact]
    public void Bfloat16_computes_what_float32_does_within_its_precision()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var exact = PrunableModel.Load(SampleModel.Folder);
        using var coarse = PrunableModel.Load(SampleModel.Folder, TorchBackend.Cpu(ScalarType.BFloat16));
        int[] tokens = SampleModel.Tokens(exact);
        double difference =
            Perplexity.Evaluate(exact, tokens, null, null).MeanLoss - Perplexity.Evaluate(coarse, tokens, null, null).MeanLoss;
        Assert.InRange(difference, -0.02, 0.02);
        Assert.NotEqual(0, difference);
    }

    [Fact]
    public void A_configuration_of_two_billion_blocks_fails_at_the_first_that_is_missing()
    {
        using var folder = new Checkpoints.TemporaryFolder();
        foreach (string file in Directory.GetFiles(Fixture.GetFolder("llama-mha")))
        {
            File.Copy(file, folder[Path.GetFileName(file)]);
        }

        string config = File.ReadAllText(folder["config.json"]);
        string damaged = System.Text.RegularExpressions.Regex.Replace(
            config, "\"num_hidden_layers\": *[0-9]+", "\"num_hidden_layers\": 2000000000");
        Assert.NotEqual(config, damaged);
        File.WriteAllText(folder["config.json"], damaged);
        var error = Assert.Throws<CheckpointException>(() => PrunableModel.Load(folder.FullPath));
        Assert.Equal("model.layers.2.input_layernorm.weight", error.Key);
    }

    private static DecoderSpec Read(string setting)
    {
        string key = setting[..setting.IndexOf(':', StringComparison.Ordinal)];
        string[] settings =
        [
            "\"model_type\": \"llama\"", "\"hidden_size\": 32", "\"intermediate_size\": 48", "\"num_hidden_layers\": 2",
            "\"num_attention_heads\": 4", "\"vocab_size\": 64",
        ];
        var config = ModelConfig.Parse("{" + string.Join(
            ',', settings.Where(other => !other.StartsWith(key, StringComparison.Ordinal)).Append(setting)) + "}", "test.json");
        return DecoderSpec.Read(config, ModelFamilies.BuiltIn.Resolve(config));
    }

    private sealed class OddBlocksElsewhere : ITensorBackend
    {
        private readonly TorchBackend _cpu = TorchBackend.Cpu(), _meta = TorchBackend.Meta();

        public Device Device => _cpu.Device;

        public ScalarType ComputeType => _cpu.ComputeType;

        public Device GetBlockDevice(int block, int blocks) => block % 2 == 0 ? _cpu.Device : _meta.Device;

        public BackendMemory Memory() => _cpu.Memory();

        public RandomSource Random(long seed) => _cpu.Random(seed);
    }
}
