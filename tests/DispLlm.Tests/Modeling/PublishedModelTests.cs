namespace DispLlm.Tests.Modeling;

/// <summary>Facts of published models that need no weights.</summary>
public sealed class PublishedModelTests
{
    [Fact]
    public void LLaMA_2_7B_has_the_gates_of_the_paper()
    {
        var config = ModelConfig.Parse(
            """
            {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
             "num_attention_heads": 32, "vocab_size": 32000}
            """,
            "7B");
        var gates = new GateLayout(new LlamaFamily().ReadSpec(config));
        Assert.Equal(876_544, gates.Sites.Where(site => PruningLayout.Paper.Selects(site.Site)).Sum(site => site.Size));

        // And one for each of its heads.
        Assert.Equal(876_544 + (32 * 32), gates.Count);
    }
}
