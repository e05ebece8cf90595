using System.Text.Json.Nodes;

namespace DispLlm.Export;

/// <summary>The file that tells ONNX Runtime GenAI what a graph is. Thread-safe.</summary>
internal static class GenAiConfig
{
    public const string Name = "genai_config.json";

    /// <summary>The file's content.</summary>
    /// <param name="source">The checkpoint.</param>
    /// <param name="graph">Name of the graph's file.</param>
    /// <param name="contextLength">The longest sequence, in tokens.</param>
    public static JsonObject Create(CheckpointSource source, string graph, int contextLength)
    {
        var (spec, tokens) = (source.Spec, SpecialTokens(source));
        return new JsonObject
        {
            ["model"] = new JsonObject
            {
                ["type"] = "decoder",
                ["bos_token_id"] = tokens.Begin,
                ["eos_token_id"] = new JsonArray([.. tokens.Ends.Select(id => (JsonNode)id)]),
                ["pad_token_id"] = tokens.Padding,
                ["vocab_size"] = spec.VocabularySize,
                ["context_length"] = contextLength,
                ["decoder"] = new JsonObject
                {
                    ["filename"] = graph,
                    ["head_size"] = OnnxAttention.CachedHeadSize(spec),
                    ["hidden_size"] = source.StreamSize,
                    ["num_attention_heads"] = spec.NumAttentionHeads,
                    ["num_key_value_heads"] = spec.NumKeyValueHeads,
                    ["num_hidden_layers"] = spec.NumLayers,
                    ["session_options"] = new JsonObject { ["log_id"] = "displlm", ["provider_options"] = new JsonArray() },
                    ["inputs"] = new JsonObject
                    {
                        ["input_ids"] = "input_ids",
                        ["attention_mask"] = "attention_mask",
                        ["past_key_names"] = "past_key_values.%d.key",
                        ["past_value_names"] = "past_key_values.%d.value",
                    },
                    ["outputs"] = new JsonObject
                    {
                        ["logits"] = "logits",
                        ["present_key_names"] = "present.%d.key",
                        ["present_value_names"] = "present.%d.value",
                    },
                },
            },
            ["search"] = new JsonObject
            {
                ["do_sample"] = false,
                ["max_length"] = contextLength,
                ["past_present_share_buffer"] = true,
            },
        };
    }

    /// <summary>The tokens as transformers reads them: generation_config.json first, then config.json.</summary>
    private static (int Begin, IReadOnlyList<int> Ends, int Padding) SpecialTokens(CheckpointSource source)
    {
        string path = Path.Combine(source.Folder.FolderPath, "generation_config.json");
        ModelConfig[] files = File.Exists(path) ? [ModelConfig.Load(path), source.Folder.Config] : [source.Folder.Config];
        int[] Ids(string key) => files.Where(file => file.Has(key)).Select(file => file.GetInts(key).Where(id => id >= 0).ToArray())
            .FirstOrDefault(ids => ids.Length > 0) ?? [];
        int[] begin = Ids("bos_token_id"), ends = Ids("eos_token_id"), padding = Ids("pad_token_id");
        return (begin.FirstOrDefault(), ends, padding.Length > 0 ? padding[0] : ends.FirstOrDefault());
    }
}
