namespace DispLlm.Modeling;

/// <summary>
/// A model as the classes of Hugging Face transformers have it: what <c>modeling_displlm.py</c> subclasses, and which keys of
/// <c>config.json</c> hold the sizes that a narrower model changes. Immutable.
/// </summary>
/// <param name="Base">The class without a head, as <c>LlamaModel</c>.</param>
/// <param name="Causal">The class with the language-model head.</param>
internal sealed record TransformersModel(string Base, string Causal)
{
    // What transformers 4.57 and 5.24 were run with; a family that is not here opens in DispLlm only.
    private static readonly Dictionary<string, TransformersModel> s_byModelType = new(StringComparer.Ordinal)
    {
        ["cohere"] = Named("Cohere"),
        ["gemma"] = Named("Gemma"),
        ["gemma2"] = Named("Gemma2"),
        ["gemma3_text"] = new("Gemma3TextModel", "Gemma3ForCausalLM"),
        ["glm4"] = Named("Glm4"),
        ["gpt2"] = new("GPT2Model", "GPT2LMHeadModel") { HiddenSizeKey = "n_embd", IntermediateSizeKey = "n_inner" },
        ["gpt_neox"] = Named("GPTNeoX"),
        ["granite"] = Named("Granite"),
        ["llama"] = Named("Llama") with { HasFreeHeadDim = true },
        ["mistral"] = Named("Mistral") with { HasFreeHeadDim = true },
        ["olmo2"] = Named("Olmo2"),
        ["olmo3"] = Named("Olmo3"),
        ["opt"] = Named("OPT") with { IntermediateSizeKey = "ffn_dim" },
        ["phi"] = Named("Phi") with { HasFreeHeadDim = true },
        ["phi3"] = Named("Phi3") with { HasFreeHeadDim = true },
        ["qwen2"] = Named("Qwen2") with { HasFreeHeadDim = true },
        ["qwen3"] = Named("Qwen3") with { HasFreeHeadDim = true },
        ["smollm3"] = Named("SmolLM3"),
        ["stablelm"] = Named("StableLm"),
        ["starcoder2"] = Named("Starcoder2"),
    };

    /// <summary>The key of the residual stream's size.</summary>
    public string HiddenSizeKey { get; init; } = "hidden_size";

    /// <summary>The key of the MLP's size.</summary>
    public string IntermediateSizeKey { get; init; } = "intermediate_size";

    /// <summary>
    /// Whether the stream can be narrower than the heads make it: the class reads <c>head_dim</c>, and nothing else that it computes
    /// follows from the stream's size.
    /// </summary>
    public bool HasFreeHeadDim { get; init; }

    /// <summary>The model of a <c>model_type</c>; null where transformers has none that was tried.</summary>
    public static TransformersModel? Find(string modelType) => s_byModelType.GetValueOrDefault(modelType);

    private static TransformersModel Named(string name) => new(name + "Model", name + "ForCausalLM");
}
