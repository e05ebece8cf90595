using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>The attention kernel of a decode step returns and caches what separate operators do, byte by byte.</summary>
public sealed class DecodeAttentionTests
{
    private const int Rows = 3, Before = 3, Steps = 70;

    [Theory]
    [InlineData("llama-mha", false)]
    [InlineData("llama-mha", true)]
    [InlineData("llama-gqa-biases-tied", false)]
    [InlineData("llama-gqa-biases-tied", true)]
    [InlineData("llama-rope-llama3", true)]
    [InlineData("phi-1.5-style", true)]
    [InlineData("opt-pre-norm", true)]
    public void Heads_and_caches_are_those_of_separate_operators(string name, bool padded)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder(name));
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            using var scope = NewDisposeScope();
            using var noGradient = no_grad();
            Compare(model.Spec, type, padded ? [0, 2, 1] : null);
        }
    }

    [Fact]
    public void Gradients_prefills_caps_and_full_windows_take_separate_operators()
    {
        using var scope = NewDisposeScope();
        using var cache = new KeyValueCache(this, 1, 64, null);
        using ForwardContext step = new(1, cache), prefill = new(2, cache), withoutCache = new(1, null);
        Tensor one = randn(1, 1, 16), two = randn(1, 2, 16), learned = randn(1, 1, 16).requires_grad_();
        var plain = new BlockAttention(8, null, null, null);
        Assert.Null(prefill.Attention.TryDecode(0, plain, [two, two, two]));
        Assert.Null(withoutCache.Attention.TryDecode(0, plain, [one, one, one]));
        Assert.Null(step.Attention.TryDecode(0, plain, [learned, one, one]));
        Assert.Null(step.Attention.TryDecode(0, plain with { Softcap = 2 }, [one, one, one]));
        Tensor held = randn(1, 2, 4, 8);
        cache.Append(0, held, held);
        cache.Advance(4);
        using var later = new ForwardContext(1, cache);
        Assert.Null(later.Attention.TryDecode(0, plain with { Window = 4 }, [one, one, one]));
        Assert.NotNull(later.Attention.TryDecode(0, plain with { Window = 5 }, [one, one, one]));
    }

    private static void Compare(DecoderSpec spec, ScalarType type, int[]? padding)
    {
        using var rotary = spec.Rotary is null ? null : new RotaryEmbedding(spec.Rotary, CPU);
        var attention = new BlockAttention(spec.HeadDim, rotary, null, null);
        using KeyValueCache fused = new(spec, 1, 4096, padding), separate = new(spec, 1, 4096, padding);
        Tensor before = randn(Rows, spec.NumKeyValueHeads, Before, spec.HeadDim, dtype: type);
        foreach (var cache in new[] { fused, separate })
        {
            cache.Append(0, before, before);
            cache.Advance(Before);
        }

        for (int step = 0; step < Steps; step++)
        {
            using var scope = NewDisposeScope();
            using ForwardContext context = new(1, fused), other = new(1, separate);
            Tensor Draw(int heads) => randn(Rows, 1, heads * spec.HeadDim, dtype: type);
            Tensor Heads(Tensor x) => x.view(Rows, 1, -1, spec.HeadDim).transpose(1, 2);
            Tensor[] projected = [Draw(spec.NumAttentionHeads), Draw(spec.NumKeyValueHeads), Draw(spec.NumKeyValueHeads)];
            Tensor query = Heads(projected[0].clone()), key = Heads(projected[1].clone()), value = Heads(projected[2].clone());
            if (rotary is not null)
            {
                var (cosine, sine) = other.Positions.RotaryCosSin(rotary, CPU, type);
                (query, key) = (RotaryEmbedding.Apply(query, cosine, sine), RotaryEmbedding.Apply(key, cosine, sine));
            }

            Tensor expected = other.Attention.Forward(0, attention, query, key, value).transpose(1, 2).flatten(2);
            Tensor? actual = context.Attention.TryDecode(0, attention, projected);
            Assert.NotNull(actual);
            Assert.True(expected.Equals(actual), $"Step {step} differs in {type}.");
            fused.Advance(1);
            separate.Advance(1);
        }

        Tensor none = empty([Rows, spec.NumKeyValueHeads, 0, spec.HeadDim], type);
        var (keys, values) = fused.Append(0, none, none);
        var (expectedKeys, expectedValues) = separate.Append(0, none, none);
        Assert.True(expectedKeys.Equals(keys));
        Assert.True(expectedValues.Equals(values));
    }
}
