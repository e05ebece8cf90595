namespace DispLlm.Modeling;

/// <summary>
/// Keys of <c>config.json</c> that change what a model computes, each with the values at which it changes nothing. A family that does not
/// read one of them would ignore it in silence. Thread-safe.
/// </summary>
internal static class ComputationKeys
{
    private static readonly string[] s_off = ["false", "0", "0.0", "[]"];
    private static readonly string[] s_one = ["1", "1.0"];
    private static readonly string[] s_true = ["true"];

    private static readonly Dictionary<string, string[]> s_neutral = new(StringComparer.Ordinal)
    {
        // Attention.
        ["sliding_window"] = s_off,
        ["use_sliding_window"] = s_off,
        ["attention_chunk_size"] = s_off,
        ["attn_logit_softcapping"] = s_off,
        ["query_pre_attn_scalar"] = [],
        ["attention_multiplier"] = [],
        ["attn_temperature_tuning"] = s_off,
        ["qk_layernorm"] = s_off,
        ["use_qk_norm"] = s_off,
        ["qk_norm"] = s_off,
        ["clip_qkv"] = s_off,
        ["scale_attn_weights"] = s_true,
        ["scale_attn_by_inverse_layer_idx"] = s_off,
        ["use_bidirectional_attention"] = s_off,
        ["is_causal"] = s_true,
        ["add_cross_attention"] = s_off,
        ["is_encoder_decoder"] = s_off,
        ["kv_lora_rank"] = s_off,
        ["q_lora_rank"] = s_off,
        ["num_kv_shared_layers"] = s_off,
        ["cla_share_factor"] = s_one,
        ["multi_query"] = s_off,

        // Positions.
        ["alibi"] = s_off,
        ["rope_scaling"] = [],
        ["partial_rotary_factor"] = s_one,
        ["rotary_pct"] = s_one,
        ["rotary_dim"] = [],
        ["rope_local_base_freq"] = [],
        ["rope_interleave"] = s_off,
        ["rope_interleaved"] = s_off,
        ["no_rope_layers"] = s_off,
        ["no_rope_layer_interval"] = s_off,
        ["mrope_section"] = s_off,

        // The residual stream and the head.
        ["embedding_multiplier"] = s_one,
        ["residual_multiplier"] = s_one,
        ["logits_scaling"] = s_one,
        ["logit_scale"] = s_one,
        ["scale_emb"] = s_one,
        ["scale_depth"] = [],
        ["final_logit_softcapping"] = s_off,
        ["use_parallel_residual"] = s_off,
        ["parallel_attn"] = s_off,
        ["new_decoder_architecture"] = s_off,
        ["do_layer_norm_before"] = s_true,
        ["layer_norm_elementwise_affine"] = s_true,
        ["hidden_size_per_layer_input"] = s_off,
        ["altup_num_inputs"] = s_off,

        // Experts and state-space layers.
        ["num_experts"] = s_off,
        ["num_local_experts"] = [.. s_off, "1"],
        ["n_routed_experts"] = s_off,
        ["attn_layer_period"] = s_one,
        ["mamba_d_state"] = s_off,
        ["ssm_state_size"] = s_off,
    };

    /// <summary>Refuses a configuration that asks for what its family has not read.</summary>
    /// <param name="config">The configuration, recording since before the family read it.</param>
    /// <param name="family">The family's name.</param>
    /// <exception cref="UnsupportedModelException">It does; the key is named.</exception>
    public static void RefuseUnread(ModelConfig config, string family)
    {
        foreach (string key in config.UnreadKeys)
        {
            bool changes = key == "layer_types"
                ? config.GetStrings(key).Any(kind => kind != "full_attention")
                : s_neutral.TryGetValue(key, out string[]? neutral) && !neutral.Contains(config.GetRaw(key));
            if (changes)
            {
                throw config.Unsupported(key, $"it changes what a model computes, and family '{family}' does not read it");
            }
        }
    }
}
