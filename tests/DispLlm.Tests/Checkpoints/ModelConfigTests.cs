using Xunit;

namespace DispLlm.Tests.Checkpoints;

public sealed class ModelConfigTests
{
    private const string Json = """
        {"model_type":"llama","hidden_size":32,"zero":0,"eps":1e-05,"theta":10000,"bias":false,"none":null,"half":4096.5,"whole":32.0,
         "big":3000000000,"inf":1e999,"names":["a","b"],"mixed":["a",1],"eos":[1,2],"eos1":2,
         "rope_scaling":{"factor":"8","deep":{"x":true}}}
        """;

    private static readonly ModelConfig Config = ModelConfig.Parse(Json, "config.json");

    [Fact]
    public void Values_of_the_right_kind_are_read()
    {
        Assert.Equal("llama", Config.GetString("model_type"));
        Assert.Equal(32, Config.GetInt("hidden_size"));
        Assert.Equal(32, Config.GetPositiveInt("hidden_size"));
        Assert.Equal(1e-5, Config.GetDouble("eps"));
        Assert.Equal(10000, Config.GetPositiveDouble("theta"));
        Assert.False(Config.GetBool("bias"));
        Assert.Equal(["a", "b"], Config.GetStrings("names"));
        Assert.Equal([1, 2], Config.GetInts("eos"));
        Assert.Equal([2], Config.GetInts("eos1"));
        Assert.True(Config.TryGetSection("rope_scaling")!.TryGetSection("deep")!.GetBool("x"));
        Assert.Null(Config.TryGetSection("quantization_config"));
        Assert.Equal("1e-05", Config.GetRaw("eps"));
    }

    [Fact]
    public void Null_is_absent_and_absent_takes_the_fallback()
    {
        Assert.False(Config.Has("none"));
        Assert.DoesNotContain("none", Config.Keys);
        Assert.Contains("zero", Config.Keys);
        Assert.Equal(7, Config.GetInt("none", 7));
        Assert.Equal(7, Config.GetPositiveInt("none", 7));
        Assert.Equal("x", Config.GetString("none", "x"));
        Assert.Equal(0.5, Config.GetDouble("none", 0.5));
        Assert.Equal(0.5, Config.GetPositiveDouble("none", 0.5));
        Assert.True(Config.GetBool("none", true));
        Assert.Equal(["x"], Config.GetStrings("none", ["x"]));
        Assert.Equal([3], Config.GetInts("none", [3]));
        Assert.Null(Config.TryGetSection("none"));
        Assert.True(Config.ToJson().ContainsKey("none"));
    }

    [Fact]
    public void Values_of_the_wrong_kind_are_errors_that_name_file_key_and_value()
    {
        Refused("hidden_size", "32", c => c.GetString("hidden_size"));
        Refused("model_type", "\"llama\"", c => c.GetInt("model_type"));
        Refused("model_type", "\"llama\"", c => c.GetInt("model_type", 3));
        Refused("half", "4096.5", c => c.GetInt("half"));
        Refused("whole", "32.0", c => c.GetInt("whole"));
        Refused("big", "3000000000", c => c.GetInt("big"));
        Refused("zero", "0", c => c.GetPositiveInt("zero", 1));
        Refused("zero", "0", c => c.GetPositiveDouble("zero"));
        Refused("inf", "1e999", c => c.GetDouble("inf"));
        Refused("model_type", "\"llama\"", c => c.GetDouble("model_type"));
        Refused("zero", "0", c => c.GetBool("zero"));
        Refused("mixed", "[\"a\",1]", c => c.GetStrings("mixed"));
        Refused("model_type", "\"llama\"", c => c.GetStrings("model_type"));
        Refused("mixed", "[\"a\",1]", c => c.GetInts("mixed"));
        Refused("bias", "false", c => c.GetInts("bias"));
        Refused("eps", "1e-05", c => c.TryGetSection("eps"));
        Refused("rope_scaling.factor", "\"8\"", c => c.TryGetSection("rope_scaling")!.GetDouble("factor"));
        Refused("rope_scaling.low", "absent", c => c.TryGetSection("rope_scaling")!.GetDouble("low"));
        foreach (var read in new Func<ModelConfig, object?>[]
        {
            c => c.GetString("none"), c => c.GetInt("none"), c => c.GetPositiveInt("none"), c => c.GetDouble("none"),
            c => c.GetBool("none"),
            c => c.GetStrings("none"), c => c.GetInts("none"),
        })
        {
            Refused("none", "absent", read);
        }
    }

    [Fact]
    public void Readers_can_refuse_a_value_in_the_same_words()
    {
        var error = Config.TryGetSection("rope_scaling")!.Unsupported("factor", "Numbers are.");
        Assert.Equal(("config.json", "rope_scaling.factor", "\"8\""), (error.File, error.Key, error.Value));
        Assert.Contains(
            "config.json: 'rope_scaling.factor': '\"8\"' is not supported. Numbers are.", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", null, "line 1")]
    [InlineData("{\n\"a\":1,\n}", null, "line 3")]
    [InlineData("{\"a\":NaN}", null, "line 1")]
    [InlineData("[]", null, "Array")]
    [InlineData("{\"a\":1,\"a\":2}", "a", "twice")]
    [InlineData("{\"a\":1,\"\\u0061\":2}", "a", "twice")]
    [InlineData("{\"s\":{\"a\":1,\"a\":2}}", "s.a", "twice")]
    [InlineData("{\"s\":[{\"a\":1,\"a\":2}]}", "s.a", "twice")]
    [InlineData("{\"a\":\"\\ud800\"}", null, "Unicode")]
    [InlineData("{\"\\ud800\":1}", null, "Unicode")]
    public void A_text_that_is_not_one_object_with_unique_keys_is_refused(string json, string? key, string expected)
    {
        var error = Assert.Throws<CheckpointException>(() => ModelConfig.Parse(json, "some/config.json"));
        Assert.Equal(("some/config.json", key), (error.File, error.Key));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_is_read_with_or_without_a_byte_order_mark_and_only_as_UTF8()
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("config.json", [0xEF, 0xBB, 0xBF, .. "{\"a\":1}"u8]);
        Assert.Equal(1, ModelConfig.Load(path).GetInt("a"));
        folder.Write("config.json", [.. "{\"a\":\""u8, 0xE9, .. "\"}"u8]);
        Assert.Contains("UTF-8", Assert.Throws<CheckpointException>(() => ModelConfig.Load(path)).Message, StringComparison.Ordinal);
        Assert.Contains(
            "no such file", Assert.Throws<CheckpointException>(() => ModelConfig.Load(folder["x"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_copy_to_rewrite_keeps_the_order_and_is_a_copy()
    {
        var copy = Config.ToJson();
        Assert.Equal("model_type", copy.First().Key);
        copy["hidden_size"] = 5;
        copy.Remove("model_type");
        Assert.Equal(32, Config.GetInt("hidden_size"));
        Assert.True(Config.Has("model_type"));
    }

    private static void Refused(string key, string value, Func<ModelConfig, object?> read)
    {
        var error = Assert.Throws<CheckpointException>(() => read(Config));
        Assert.Equal(("config.json", key), (error.File, error.Key));
        Assert.Contains($"config.json: '{key}': ", error.Message, StringComparison.Ordinal);
        Assert.Contains(value, error.Message, StringComparison.Ordinal);
    }
}
