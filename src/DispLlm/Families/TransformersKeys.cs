using System.Text.Json.Nodes;

namespace DispLlm.Modeling;

/// <summary>
/// Keys of <c>config.json</c> that make one folder right for transformers 4 and 5. Version 4 takes a layout of version 5 for one with
/// default rotary settings, and Gemma's activation at its word, both in silence; version 5 prefers its own keys where both stand.
/// </summary>
internal static class TransformersKeys
{
    /// <summary>Adds the keys that version 4 reads, where they are missing.</summary>
    public static void AddThoseOfVersion4(JsonObject config)
    {
        string type = config["model_type"]!.GetValue<string>();
        if (type == "gemma" && config["hidden_act"]?.GetValue<string>() == "gelu")
        {
            config["hidden_act"] = "gelu_pytorch_tanh";
        }

        if (config["rope_parameters"] is JsonObject rotary)
        {
            AddRotary(config, type, rotary);
        }
    }

    private static void AddRotary(JsonObject config, string type, JsonObject rotary)
    {
        void Add(string key, JsonNode? value)
        {
            if (value is not null)
            {
                config[key] ??= value.DeepClone();
            }
        }

        if (rotary["sliding_attention"] is JsonObject sliding)
        {
            Add("rope_local_base_freq", sliding["rope_theta"]);
            rotary = rotary["full_attention"] as JsonObject ?? sliding;
        }

        Add("rope_theta", rotary["rope_theta"]);
        Add("partial_rotary_factor", rotary["partial_rotary_factor"]);
        if (type == "gpt_neox")
        {
            Add("rotary_emb_base", rotary["rope_theta"]);
            Add("rotary_pct", rotary["partial_rotary_factor"]);
        }

        string? kind = (rotary["rope_type"] ?? rotary["type"])?.GetValue<string>();
        if (kind is not (null or "default"))
        {
            Add("rope_scaling", type == "phi3" ? LongRope(kind, rotary) : Scaling(rotary));
        }
    }

    private static JsonObject Scaling(JsonObject rotary) => new(rotary
        .Where(entry => entry.Key is not ("rope_theta" or "partial_rotary_factor"))
        .Select(entry => KeyValuePair.Create(entry.Key, entry.Value?.DeepClone())));

    /// <summary>Phi-3's scaling: version 4 refuses any other key in it.</summary>
    private static JsonObject LongRope(string kind, JsonObject rotary) => new()
    {
        ["type"] = kind,
        ["short_factor"] = rotary["short_factor"]?.DeepClone(),
        ["long_factor"] = rotary["long_factor"]?.DeepClone(),
    };
}
