using System.Runtime.CompilerServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How text is generated. An immutable value.</summary>
public sealed record GenerationOptions
{
    /// <summary>The most tokens to generate. Default 64; at least 1.</summary>
    public int MaxNewTokens { get; init; } = 64;

    /// <summary>0 takes the likeliest token each time (the default); above 0 samples.</summary>
    public double Temperature { get; init; }

    /// <summary>Sample among this many likeliest tokens only. Default: all. At least 1; ignored at temperature 0.</summary>
    public int? TopK { get; init; }

    /// <summary>
    /// Sample among the fewest likeliest tokens that together have this probability. Default: all. Above 0, at most 1; ignored at
    /// temperature 0.
    /// </summary>
    public double? TopP { get; init; }

    /// <summary>Tokens that end a text, and are not part of it. Default: none.</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Seed of the samples; ignored at temperature 0. Default 0.</summary>
    public long Seed { get; init; }

    /// <summary>Gates to generate under, for a dense model. Default: none.</summary>
    public Gates? Gates { get; init; }

    /// <summary>
    /// Whether keys and values are cached from token to token. Default yes; without, the whole text is recomputed for every token, with the
    /// same result.
    /// </summary>
    public bool UseKeyValueCache { get; init; } = true;

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxNewTokens, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(Temperature);
        ArgumentOutOfRangeException.ThrowIfLessThan(TopK ?? 1, 1, nameof(TopK));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(TopP ?? 1, nameof(TopP));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(TopP ?? 1, 1, nameof(TopP));
    }
}

/// <summary>Greedy and sampled generation. Thread-safe where the model is.</summary>
public static class TextGenerator
{
    /// <summary>Continues a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="options">How. The tokenizer's end-of-text token ends the text where no other token is named.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns>The continuation, without the prompt.</returns>
    public static string Generate(
        IPrunableModel model, TextTokenizer tokenizer, string prompt, GenerationOptions? options = null,
            CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return tokenizer.Decode(Generate(model, Ids(tokenizer, prompt), WithEnd(options, tokenizer), cancellationToken));
    }

    /// <summary>Continues a text and returns each piece as soon as it is complete.</summary>
    /// <param name="model">The model. It is used on other threads until the enumeration ends.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="prompt">The text to continue.</param>
    /// <param name="options">How. The tokenizer's end-of-text token ends the text where no other token is named.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns>
    /// Pieces that together are what <see cref="Generate(IPrunableModel, TextTokenizer, string, GenerationOptions?, CancellationToken)"/>
    /// returns.
    /// </returns>
    public static async IAsyncEnumerable<string> GenerateStreamingAsync(
        IPrunableModel model,
        TextTokenizer tokenizer,
        string prompt,
        GenerationOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        var ids = new List<int>();
        string returned = string.Empty;
        await foreach (int id in GenerateStreamingAsync(model, Ids(tokenizer, prompt), WithEnd(options, tokenizer),
            cancellationToken).ConfigureAwait(false))
        {
            ids.Add(id);
            string text = tokenizer.Decode(ids);

            // A character may take several tokens; until the last of them the text ends with a replacement character.
            if (!text.EndsWith('\uFFFD') && text.Length > returned.Length && text.StartsWith(returned, StringComparison.Ordinal))
            {
                yield return text[returned.Length..];
                returned = text;
            }
        }

        string all = tokenizer.Decode(ids);
        if (all.Length > returned.Length)
        {
            yield return all[returned.Length..];
        }
    }

    /// <summary>Continues token ids and returns each as soon as it is chosen.</summary>
    /// <param name="model">The model. It is used on other threads until the enumeration ends.</param>
    /// <param name="prompt">Token ids to continue; at least one.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    public static async IAsyncEnumerable<int> GenerateStreamingAsync(
        IPrunableModel model, IReadOnlyList<int> prompt, GenerationOptions? options = null,
            [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        using var run = new GenerationRun(model, [prompt], options ?? new GenerationOptions());

        // Dispose scopes and no_grad belong to a thread, so neither may be held across a yield: each token has its own.
        while (await Task.Run(() => run.Next(cancellationToken), cancellationToken).ConfigureAwait(false))
        {
            yield return run.Texts[0][^1];
        }
    }

    /// <summary>Continues token ids.</summary>
    /// <param name="model">The model.</param>
    /// <param name="prompt">Token ids to continue; at least one.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns>The new token ids, without the prompt.</returns>
    public static IReadOnlyList<int> Generate(
        IPrunableModel model, IReadOnlyList<int> prompt, GenerationOptions? options = null,
            CancellationToken cancellationToken = default) =>
        Generate(model, [prompt], options, cancellationToken)[0];

    /// <summary>Continues a batch of prompts of any lengths.</summary>
    /// <param name="model">The model.</param>
    /// <param name="prompts">Token ids to continue, at least one in each.</param>
    /// <param name="options">How. Each text ends at its own stop token.</param>
    /// <param name="cancellationToken">Looked at before each token.</param>
    /// <returns>The new token ids of each prompt.</returns>
    /// <exception cref="ArgumentException">
    /// There is no prompt, an empty one, or prompt and new tokens are more than the model's positions.
    /// </exception>
    public static IReadOnlyList<IReadOnlyList<int>> Generate(
        IPrunableModel model, IReadOnlyList<IReadOnlyList<int>> prompts, GenerationOptions? options = null,
            CancellationToken cancellationToken = default)
    {
        using var run = new GenerationRun(model, prompts, options ?? new GenerationOptions());
        while (run.Next(cancellationToken))
        {
        }

        return run.Texts;
    }

    internal static List<int> Ids(TextTokenizer tokenizer, string prompt)
    {
        var ids = new List<int>();
        if (tokenizer is { AddBosToken: true, BosTokenId: { } begin })
        {
            ids.Add(begin);
        }

        ids.AddRange(tokenizer.Encode(prompt));
        return ids;
    }

    private static GenerationOptions WithEnd(GenerationOptions? options, TextTokenizer tokenizer)
    {
        options ??= new GenerationOptions();
        return options.StopTokens.Count > 0 || tokenizer.EosTokenId is not { } end ? options : options with { StopTokens = [end] };
    }
}
