using System.Globalization;

namespace DispLlm.Inference;

/// <summary>The blocks of a published model. The vocabulary is small, so that embedding and head do not count.</summary>
/// <param name="Name">The model.</param>
/// <param name="Blocks">The default number of blocks: more than the processor's caches hold.</param>
/// <param name="Config">The keys of its configuration that describe a block.</param>
internal sealed record Shape(string Name, int Blocks, string Config)
{
    public const int Vocabulary = 256;

    public static Shape Named(string name) => name switch
    {
        "smollm2" => new Shape(
            "SmolLM2-135M's shape", 10,
            "\"hidden_size\": 576, \"intermediate_size\": 1536, \"num_attention_heads\": 9, \"num_key_value_heads\": 3"),
        "llama3.2-1b" => new Shape(
            "LLaMA-3.2 1B's shape", 4,
            "\"hidden_size\": 2048, \"intermediate_size\": 8192, \"num_attention_heads\": 32, \"num_key_value_heads\": 8"),
        "llama2-7b" => new Shape(
            "LLaMA-2 7B's shape", 1,
            "\"hidden_size\": 4096, \"intermediate_size\": 11008, \"num_attention_heads\": 32, \"num_key_value_heads\": 32"),
        _ => throw new ArgumentException($"There is no shape {name}."),
    };

    /// <summary>A <c>config.json</c> of this many blocks.</summary>
    public string ToJson(int blocks) => string.Create(
        CultureInfo.InvariantCulture,
        $$"""
        {"model_type": "llama", {{Config}}, "num_hidden_layers": {{blocks}}, "vocab_size": {{Vocabulary}}, "max_position_embeddings": 4096,
         "tie_word_embeddings": true}
        """);
}
