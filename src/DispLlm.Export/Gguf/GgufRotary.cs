using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>Positions and sliding windows in a GGUF file.</summary>
internal static class GgufRotary
{
    /// <summary>A divisor of frequencies at which nothing is rotated, within the precision of float32.</summary>
    private const float Still = 1e30f;

    /// <summary>Why an architecture cannot compute a spec's positions: a key and the reason; null if it can.</summary>
    public static (string Key, string Reason)? Refusal(GgufArchitecture architecture, DecoderSpec spec)
    {
        if (architecture.LearnedPositions)
        {
            return null;
        }

        if (Attentions(spec).All(attention => attention.Rotary is null))
        {
            return (nameof(spec.Rotary), "it rotates some blocks");
        }

        bool hasWindows = GgufWindows.Read(architecture, spec) is { IsComputed: true };
        var full = FullRotary(spec);
        for (int block = 0; block < spec.NumLayers; block++)
        {
            var (rotary, window) = spec.GetAttention(block);
            bool isUnrotated = architecture.BlocksPerUnrotated is { } every && (block + 1) % every == 0;
            if (rotary is null != isUnrotated)
            {
                return (nameof(spec.Rotary), isUnrotated ? $"it rotates nothing in block {block}" : $"it rotates block {block}");
            }

            var expected = hasWindows && window is not null ? SlidingRotary(architecture, rotary, full) : full;
            if (rotary is not null && rotary with { Interleaved = false } != expected)
            {
                return (nameof(spec.LayerAttention), "its blocks rotate otherwise");
            }
        }

        return Refusal(architecture, full, spec.HeadDim);
    }

    /// <summary>The rotary embedding of blocks without a window, or of all.</summary>
    public static RotarySpec FullRotary(DecoderSpec spec)
    {
        var full = Attentions(spec).Where(attention => attention.Rotary is not null)
            .OrderBy(attention => attention.SlidingWindow is not null).First();
        return full.Rotary! with { Interleaved = false };
    }

    /// <summary>The longest context in which the file's model and the checkpoint's are the same, and a sentence if that is less.</summary>
    public static (int Length, string? Note) Context(GgufArchitecture architecture, DecoderSpec spec)
    {
        int length = spec.MaxPositions;
        string? reason = null;
        if (GgufWindows.Read(architecture, spec) is { IsComputed: false } windows && windows.Length < length)
        {
            length = windows.Length;
            reason = $"longer ones need the sliding window, which llama.cpp does not compute for '{architecture.Name}'";
        }

        if (!architecture.LearnedPositions
            && FullRotary(spec).Scaling is RotaryScaling.Dynamic { OriginalMaxPositions: var original } && original < length)
        {
            length = original;
            reason = "llama.cpp has no dynamic scaling of positions";
        }

        return (length, reason is null ? null : $"The context is {length} tokens instead of {spec.MaxPositions}: {reason}.");
    }

    /// <summary>The metadata of positions and windows.</summary>
    public static IEnumerable<GgufValue> Metadata(GgufArchitecture architecture, DecoderSpec spec)
    {
        string Key(string name) => $"{architecture.Name}.{name}";
        var windows = GgufWindows.Read(architecture, spec) is { IsComputed: true } computed ? computed : default;
        if (windows.IsComputed || architecture.AlwaysSlides)
        {
            // A window as long as the context is none.
            int length = windows.IsComputed ? windows.Length : Context(architecture, spec).Length;
            yield return new(Key("attention.sliding_window"), (uint)length);
        }

        if (windows.IsComputed && windows.BlocksPerFullAttention != architecture.BlocksPerFullAttention)
        {
            yield return new(Key("attention.sliding_window_pattern"), (uint)windows.BlocksPerFullAttention);
        }

        if (architecture.LearnedPositions)
        {
            yield break;
        }

        var rotary = FullRotary(spec);
        yield return new(Key("rope.dimension_count"), (uint)Dimensions(architecture, spec));
        yield return new(Key("rope.freq_base"), (float)rotary.Theta);
        if (architecture.SlidingRotary && windows.IsComputed)
        {
            var sliding = Attentions(spec).First(attention => attention.SlidingWindow is not null);
            yield return new(Key("rope.freq_base_swa"), (float)sliding.Rotary!.Theta);
        }

        switch (rotary.Scaling)
        {
            case RotaryScaling.Linear linear:
                yield return new(Key("rope.scaling.type"), "linear");
                yield return new(Key("rope.scaling.factor"), (float)linear.Factor);
                break;
            case RotaryScaling.Yarn yarn when !architecture.ReadsFrequencyDivisors:
                yield return new(Key("rope.scaling.type"), "yarn");
                yield return new(Key("rope.scaling.factor"), (float)yarn.Factor);
                yield return new(Key("rope.scaling.original_context_length"), (uint)yarn.OriginalMaxPositions);
                yield return new(Key("rope.scaling.yarn_beta_fast"), (float)yarn.BetaFast);
                yield return new(Key("rope.scaling.yarn_beta_slow"), (float)yarn.BetaSlow);
                break;
            case RotaryScaling.LongRope longRope:
                yield return new(Key("rope.scaling.type"), "longrope");
                yield return new(Key("rope.scaling.original_context_length"), (uint)longRope.OriginalMaxPositions);
                yield return new(Key("rope.scaling.attn_factor"), (float)longRope.CosineFactor);
                break;
            case { AttentionFactor: not 1 }:
                yield return new(Key("rope.scaling.attn_factor"), (float)rotary.Scaling.AttentionFactor);
                break;
        }
    }

    /// <summary>The tensors of frequencies that are neither a power of the base nor one divided by a factor.</summary>
    public static IEnumerable<GgufTensor> Tensors(GgufArchitecture architecture, DecoderSpec spec)
    {
        if (architecture.LearnedPositions)
        {
            yield break;
        }

        var rotary = FullRotary(spec);
        int dimensions = Dimensions(architecture, spec);
        GgufTensor Divisors(string name, long length) => new(
            name, [dimensions / 2], GgufType.F32, [() => tensor(Divide(rotary, dimensions, length))]);
        if (rotary.Scaling is RotaryScaling.LongRope longRope)
        {
            yield return Divisors("rope_factors_long.weight", longRope.OriginalMaxPositions + 1L);
            yield return Divisors("rope_factors_short.weight", longRope.OriginalMaxPositions);
        }
        else if (NeedsDivisors(rotary, dimensions) && architecture.ReadsFrequencyDivisors)
        {
            yield return Divisors("rope_freqs.weight", 1);
        }
    }

    /// <summary>The order of a head's features: llama.cpp rotates neighbours where the decoder rotates halves.</summary>
    public static IReadOnlyList<long> FeatureOrder(DecoderSpec spec)
    {
        int rotated = FullRotary(spec).Dimensions;
        return
        [
            .. Enumerable.Range(0, rotated / 2).SelectMany(pair => new long[] { pair, pair + rotated / 2 }),
            .. Enumerable.Range(rotated, spec.HeadDim - rotated).Select(feature => (long)feature),
        ];
    }

    private static (string Key, string Reason)? Refusal(GgufArchitecture architecture, RotarySpec rotary, int headDim)
    {
        const string Key = "rope_scaling";
        bool isPart = architecture.RotatesWholeHeads && rotary.Dimensions < headDim;
        return rotary.Scaling switch
        {
            _ when isPart && !architecture.ReadsFrequencyDivisors => (Key, "it rotates whole heads"),
            RotaryScaling.Llama3 when !architecture.ReadsFrequencyDivisors => (Key, "it reads no frequencies of LLaMA 3"),
            RotaryScaling.LongRope when !architecture.ReadsLongRope => (Key, "it reads no factors of LongRoPE"),
            { AttentionFactor: not 1 } when isPart => (Key, "it scales whole heads"),
            RotaryScaling.Linear when isPart => (Key, "it rotates whole heads"),
            RotaryScaling.Yarn yarn when !architecture.ReadsFrequencyDivisors && !IsUsual(yarn) => (Key, "its YaRN is the usual one"),
            _ => null,
        };
    }

    /// <summary>Whether YaRN has the cosine factor, and the bounds of whole dimensions, that llama.cpp computes.</summary>
    private static bool IsUsual(RotaryScaling.Yarn yarn) =>
        yarn.Truncate && Math.Abs(yarn.CosineFactor - ((0.1 * Math.Log(yarn.Factor)) + 1)) <= 1e-6;

    private static IEnumerable<LayerAttention> Attentions(DecoderSpec spec) =>
        Enumerable.Range(0, spec.NumLayers).Select(spec.GetAttention);

    private static int Dimensions(GgufArchitecture architecture, DecoderSpec spec) =>
        architecture.RotatesWholeHeads ? spec.HeadDim : FullRotary(spec).Dimensions;

    private static bool NeedsDivisors(RotarySpec rotary, int dimensions) =>
        rotary.Dimensions < dimensions || rotary.Scaling is RotaryScaling.Llama3 or RotaryScaling.Yarn;

    /// <summary>What llama.cpp must divide its frequencies by to have those of the decoder.</summary>
    private static float[] Divide(RotarySpec rotary, int dimensions, long length)
    {
        float[] wanted = RotaryFrequencies.Compute(rotary, length);
        return
        [
            .. Enumerable.Range(0, dimensions / 2).Select(pair => pair >= wanted.Length ? Still
                : (float)(Math.Pow(rotary.Theta, -2.0 * pair / dimensions) / wanted[pair])),
        ];
    }

    /// <summary>What an architecture computes in a block with a sliding window whose rotary embedding is <paramref name="own"/>.</summary>
    private static RotarySpec SlidingRotary(GgufArchitecture architecture, RotarySpec? own, RotarySpec full) =>
        architecture.SlidingRotary ? full with { Theta = own?.Theta ?? full.Theta, Scaling = new RotaryScaling.None() }
        : architecture.ScalesFullAttentionOnly ? full with { Scaling = new RotaryScaling.None() }
        : full;
}
