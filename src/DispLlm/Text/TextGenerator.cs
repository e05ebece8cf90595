using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How text is generated.</summary>
public sealed record GenerationOptions
{
    /// <summary>Tokens to add at most. Default 64; at least 1.</summary>
    public int MaxNewTokens { get; init; } = 64;

    /// <summary>0 takes the likeliest token each time (the default); above 0 samples, the more freely the higher.</summary>
    public double Temperature { get; init; }

    /// <summary>A token that ends the text, and is not part of it. Default: none.</summary>
    public int? StopToken { get; init; }

    /// <summary>Seed of the samples; of no meaning at temperature 0. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Gates to generate under, for a dense model. Default: none.</summary>
    public Gates? Gates { get; init; }
}

/// <summary>Greedy and sampled generation, one token after the other.</summary>
public static class TextGenerator
{
    /// <summary>Continues a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns>The continuation, without the prompt.</returns>
    public static string Continue(
        IPrunableModel model, TextTokenizer tokenizer, string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        var ids = new List<int>();
        if (tokenizer is { AddsBeginOfText: true, BeginOfTextId: { } begin })
        {
            ids.Add(begin);
        }

        ids.AddRange(tokenizer.Encode(prompt));
        options ??= new GenerationOptions();
        options = options with { StopToken = options.StopToken ?? tokenizer.EndOfTextId };
        return tokenizer.Decode(Continue(model, ids, options, cancellationToken));
    }

    /// <summary>Continues token ids.</summary>
    /// <param name="model">The model.</param>
    /// <param name="prompt">Token ids to continue; at least one.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns>The new token ids, without the prompt.</returns>
    public static IReadOnlyList<int> Continue(
        IPrunableModel model, IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(prompt);
        options ??= new GenerationOptions();
        using var start = tensor(prompt.Select(id => (long)id).ToArray(), ScalarType.Int64).view(1, prompt.Count);
        using var continued = Continue(model, start, options, cancellationToken);
        long[] all = continued.data<long>().ToArray();
        return [.. all.Skip(prompt.Count).Select(id => (int)id).TakeWhile(id => id != options.StopToken)];
    }

    /// <summary>Continues a batch of prompts of one length.</summary>
    /// <param name="model">The model.</param>
    /// <param name="prompts"><c>[batch, seq]</c>, int64.</param>
    /// <param name="options">How. With a stop token, generation ends once every row holds one.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns><c>[batch, seq + new]</c>, int64 on the CPU, prompts included. The caller disposes it.</returns>
    public static Tensor Continue(IPrunableModel model, Tensor prompts, GenerationOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(prompts);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxNewTokens, 1, nameof(options.MaxNewTokens));
        ArgumentOutOfRangeException.ThrowIfNegative(options.Temperature, nameof(options.Temperature));
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        using var stream = model.Backend.Random(options.Seed).Stream("generation");
        Tensor tokens = prompts.cpu();
        Tensor stopped = zeros(tokens.shape[0], ScalarType.Bool);
        for (int i = 0; i < options.MaxNewTokens; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            Tensor logits = model.NextTokenLogits(tokens, options.Gates).cpu().to(ScalarType.Float32);
            Tensor next = (options.Temperature == 0 ? logits : logits / options.Temperature + Gumbel(stream, logits.shape)).argmax(-1);
            tokens = cat([tokens, next.unsqueeze(1)], 1).MoveToOuterDisposeScope();
            if (options.StopToken is { } stop)
            {
                stopped = stopped.logical_or(next == stop).MoveToOuterDisposeScope();
                if (stopped.all().ToBoolean())
                {
                    break;
                }
            }
        }

        return tokens.MoveToOuterDisposeScope();
    }

    /// <summary>The largest of logits with Gumbel noise is a sample of their softmax.</summary>
    private static Tensor Gumbel(RandomStream stream, long[] shape) => (stream.Uniform(shape) + 1e-20).log().neg().log().neg();
}
