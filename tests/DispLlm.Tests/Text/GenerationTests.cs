using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Text;

/// <summary>Generation, and its key-value cache, for every kind of decoder.</summary>
public sealed class GenerationTests
{
    private static readonly int[][] s_prompts = [[5, 9, 12, 40, 33, 17, 8], [21], [50, 4, 31, 7]];

    public static TheoryData<string> Fixtures =>
        ["llama-mha", "llama-gqa-biases-tied", "llama-rope-llama3", "opt-pre-norm", "opt-350m-style", "phi-2-style", "phi-qk-norm-gqa"];

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Read_in_pieces_the_logits_are_those_of_the_whole(string name)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.Load(Fixture.GetFolder(name));
        Tensor tokens = (arange(100, ScalarType.Int64) * 7 + 3).remainder(model.Spec.VocabularySize).view(2, 50);
        Tensor whole = model.Logits(tokens);
        using var cache = model.CreateKeyValueCache();
        int read = 0;
        foreach (int piece in new[] { 11, 1, 1, 30, 1, 6 })
        {
            Tensor next = model.NextTokenLogits(tokens.narrow(1, read, piece), cache);
            read += piece;
            Assert.Equal(read, cache.Length);
            Close.Within(1e-4, whole.select(1, read - 1), next, $"after {read}");
        }

        cache.Truncate(12);
        Close.Within(1e-4, whole.select(1, 12), model.NextTokenLogits(tokens.narrow(1, 12, 1), cache), "after truncation");
        Close.Within(1e-4, whole.select(1, 29), model.NextTokenLogits(tokens.narrow(1, 13, 17), cache), "and on from there");
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Truncate(31));
        Assert.Throws<ArgumentOutOfRangeException>(() => cache.Truncate(-1));
        cache.Clear();
        Close.Within(1e-4, whole.select(1, 19), model.NextTokenLogits(tokens.narrow(1, 0, 20), cache), "used again");
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Prompts_of_unequal_length_are_continued_as_each_alone(string name)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder(name));
        foreach (bool keeps in new[] { true, false })
        {
            var options = new GenerationOptions { MaxNewTokens = 12, UseKeyValueCache = keeps };
            var together = TextGenerator.Generate(model, s_prompts, options);
            Assert.Equal(s_prompts.Select(prompt => TextGenerator.Generate(model, prompt, options)), together);
        }
    }

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_pruned_model_continues_as_the_masked_one(string name)
    {
        using var folder = new TemporaryFolder();
        using var model = PrunableModel.Load(Fixture.GetFolder(name));
        var plan = new RandomSelection().Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.4) }).Plan;
        new PrunedModelBuilder(model.Folder, plan).Build(folder.Below("pruned"));
        using var pruned = PrunableModel.Load(folder.Below("pruned"));
        using var gates = Gates.FromPlan(plan, model.Backend);
        Assert.Equal(
            TextGenerator.Generate(model, s_prompts, new GenerationOptions { MaxNewTokens = 15, Gates = gates }),
            TextGenerator.Generate(pruned, s_prompts, new GenerationOptions { MaxNewTokens = 15 }));
    }

    [Fact]
    public void Sampling_is_the_same_with_and_without_cache_and_repeats_with_its_seed()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var options = new GenerationOptions { MaxNewTokens = 20, Temperature = 0.8, TopK = 30, TopP = 0.9, Seed = 7 };
        var first = TextGenerator.Generate(model, s_prompts, options);
        Assert.Equal(first, TextGenerator.Generate(model, s_prompts, options with { UseKeyValueCache = false }));
        Assert.NotEqual(first, TextGenerator.Generate(model, s_prompts, options with { Seed = 8 }));
    }

    [Fact]
    public void Only_the_likeliest_are_sampled_where_asked()
    {
        using var scope = NewDisposeScope();
        using var stream = new RandomSource(1).Stream("choice");
        Tensor probabilities = tensor(new[] { 0.05f, 0.4f, 0.1f, 0.3f, 0.15f });
        Tensor logits = probabilities.log().unsqueeze(0).expand(20_000, 5);
        double[] Frequencies(GenerationOptions options)
        {
            long[] chosen = TokenSampler.Next(logits, options, stream).data<long>().ToArray();
            return [.. Enumerable.Range(0, 5).Select(token => chosen.Count(id => id == token) / 20_000.0)];
        }

        var free = new GenerationOptions { Temperature = 1 };
        void Near(double[] expected, double[] found) =>
            Assert.All(expected.Zip(found), pair => Assert.Equal(pair.First, pair.Second, 0.02));
        Near([0.05, 0.4, 0.1, 0.3, 0.15], Frequencies(free));
        Near([0, 0.4 / 0.7, 0, 0.3 / 0.7, 0], Frequencies(free with { TopK = 2 }));
        Near([0, 0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85], Frequencies(free with { TopP = 0.75 }));
        Near([0, 1, 0, 0, 0], Frequencies(free with { TopP = 0.01 }));
        Near([0, 1, 0, 0, 0], Frequencies(free with { Temperature = 0 }));
        Near([0, 0.16 / 0.25, 0, 0.09 / 0.25, 0], Frequencies(free with { Temperature = 0.5, TopK = 2 }));
    }

    [Fact]
    public void Each_text_ends_at_its_own_stop_token()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var whole = TextGenerator.Generate(model, s_prompts, new GenerationOptions { MaxNewTokens = 10 });
        int stop = whole[0][4];
        var stopped = TextGenerator.Generate(model, s_prompts, new GenerationOptions { MaxNewTokens = 10, StopTokens = [stop] });
        Assert.Equal(whole.Select(text => text.TakeWhile(id => id != stop)), stopped);
        Assert.InRange(stopped[0].Count, 0, 4);
    }

    [Fact]
    public async Task A_stream_says_what_the_whole_says()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        var tokenizer = TextTokenizer.FromFolder(SampleModel.Folder);
        var options = new GenerationOptions { MaxNewTokens = 30, Temperature = 1, Seed = 2 };
        var pieces = new List<string>();
        await foreach (string piece in TextGenerator.GenerateStreamingAsync(model, tokenizer, "Once upon a time", options,
            TestContext.Current.CancellationToken))
        {
            pieces.Add(piece);
        }

        Assert.True(pieces.Count > 5);
        Assert.Equal(TextGenerator.Generate(model, tokenizer, "Once upon a time", options, TestContext.Current.CancellationToken),
            string.Concat(pieces));
    }

    [Fact]
    public async Task A_stream_that_is_left_or_cancelled_leaves_no_tensor_behind()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        TextGenerator.Generate(model, [3]);
        long before = LiveTensors.Before();
        await foreach (int id in TextGenerator.GenerateStreamingAsync(model, [3, 4],
            cancellationToken: TestContext.Current.CancellationToken))
        {
            Assert.InRange(id, 0, 63);
            break;
        }

        using var cancellation = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (int _ in TextGenerator.GenerateStreamingAsync(model, [3, 4], cancellationToken: cancellation.Token))
            {
                cancellation.Cancel();
            }
        });
        TextGenerator.Generate(model, s_prompts);
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void What_cannot_be_is_refused()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        Assert.Throws<ArgumentException>(() => TextGenerator.Generate(model, Array.Empty<int[]>()));
        Assert.Throws<ArgumentException>(() => TextGenerator.Generate(model, [[3], []]));
        Assert.Contains("128",
            Assert.Throws<ArgumentException>(() =>
            TextGenerator.Generate(model, [3], new GenerationOptions { MaxNewTokens = 129 })).Message, StringComparison.Ordinal);
        Assert.Equal(128, TextGenerator.Generate(model, [3], new GenerationOptions { MaxNewTokens = 128 }).Count);
        Assert.Throws<ArgumentOutOfRangeException>(() => TextGenerator.Generate(model, [3], new GenerationOptions { TopP = 1.5 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => TextGenerator.Generate(model, [3], new GenerationOptions { TopK = 0 }));
        using var scope = NewDisposeScope();
        using var cache = model.CreateKeyValueCache();
        model.NextTokenLogits(ones([1, 100], ScalarType.Int64), cache);
        Assert.Throws<ArgumentException>(() => model.NextTokenLogits(ones([1, 29], ScalarType.Int64), cache));
        Assert.Throws<ArgumentException>(() => model.NextTokenLogits(ones([2, 2], ScalarType.Int64), cache));
        using var padded = model.CreateKeyValueCache([0, 3]);
        Assert.Throws<ArgumentException>(() => model.NextTokenLogits(ones([1, 5], ScalarType.Int64), padded));
        using var other = PrunableModel.Load(Fixture.GetFolder("llama-gqa-biases-tied"));
        Assert.Contains("another model",
            Assert.Throws<ArgumentException>(() => other.NextTokenLogits(ones([1, 1], ScalarType.Int64), cache)).Message,
            StringComparison.Ordinal);
        cache.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.NextTokenLogits(ones([1, 1], ScalarType.Int64), cache));
    }

    [Fact]
    public void Placement_over_devices_holds_for_a_cache_too()
    {
        using var scope = NewDisposeScope();
        using var model = PrunableModel.FromConfig(ModelConfig.Load(Path.Combine(Fixture.GetFolder("llama-mha"), "config.json")));
        using var cache = model.CreateKeyValueCache();
        foreach (int piece in new[] { 7, 1, 3 })
        {
            Assert.Equal([2, 64], model.NextTokenLogits(zeros([2, piece], ScalarType.Int64, META), cache).shape);
        }
    }
}
