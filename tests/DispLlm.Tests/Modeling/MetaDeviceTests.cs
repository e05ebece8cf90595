using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>Published sizes on the memory-free device: right counts, right shapes, and no tensor that hides on the CPU.</summary>
public sealed class MetaDeviceTests
{
    [Theory]
    [InlineData("LLaMA-2 7B", 4096, 11008, 32, 32, 32, 32000, false, 6_738_415_616)]
    [InlineData("LLaMA-2 13B", 5120, 13824, 40, 40, 40, 32000, false, 13_015_864_320)]
    [InlineData("LLaMA-2 70B", 8192, 28672, 80, 64, 8, 32000, false, 68_976_648_192)]
    [InlineData("LLaMA-3 8B", 4096, 14336, 32, 32, 8, 128256, false, 8_030_261_248)]
    [InlineData("SmolLM2-135M", 576, 1536, 30, 9, 3, 49152, true, 134_515_008)]
    public void A_published_model_has_its_published_size(
        string name, int hidden, int mlp, int blocks, int heads, int keyValueHeads, int vocabulary, bool tied, long parameters)
    {
        var config = ModelConfig.Parse(
            $$"""
            {"model_type": "llama", "hidden_size": {{hidden}}, "intermediate_size": {{mlp}}, "num_hidden_layers": {{blocks}},
             "num_attention_heads": {{heads}}, "num_key_value_heads": {{keyValueHeads}}, "vocab_size": {{vocabulary}},
             "max_position_embeddings": 4096, "tie_word_embeddings": {{(tied ? "true" : "false")}}}
            """,
            name);
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.FromConfig(config, TorchBackend.Meta(ScalarType.BFloat16));
        Assert.Equal(parameters, new ParameterCounter(model.Spec).Dense.WholeModel);

        Tensor gates = empty(model.GateLayout.Count, ScalarType.Float32, model.Backend.Device);
        foreach (var use in new[] { null, new Gates(gates), new Gates(gates, NormOrder.SelectThenNorm) })
        {
            Tensor logits = model.Logits(empty([1, 16], ScalarType.Int64, model.Backend.Device), use);
            Assert.Equal([1, 16, vocabulary], logits.shape);
            Assert.Equal(DeviceType.META, logits.device_type);
        }
    }

    [Fact]
    public void LLaMA_2_7B_has_the_gates_of_the_paper()
    {
        var config = ModelConfig.Parse(
            """
            {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}
            """,
            "7B");
        Assert.Equal(876_544, new GateLayout(new LlamaFamily().ReadSpec(config)).Count);
    }
}
