using DispLlm.Checkpoints;
using DispLlm.Modeling;

namespace AddYourOwnFamily;

/// <summary>
/// Qwen2 and Qwen2.5: built like LLaMA, but with biases on queries, keys and values. A family that is nearly another one says what differs.
/// </summary>
public sealed class Qwen2Family : LlamaFamily
{
    public override string Name => "qwen2";

    public override ModelConfig Example { get; } = ModelConfig.Parse(
        """
        {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
         "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "rope_theta": 1000000.0,
         "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "use_sliding_window": false, "sliding_window": 32768}
        """,
        "Qwen2-0.5B");

    public override DecoderSpec ReadSpec(ModelConfig config)
    {
        // The window's length is in every configuration; what counts is whether it is used.
        if (config.GetBool("use_sliding_window", false))
        {
            throw config.Unsupported("use_sliding_window", "attention over a sliding window is not computed here");
        }

        return base.ReadSpec(config.Without("sliding_window")) with { QueryKeyValueBias = true };
    }
}
