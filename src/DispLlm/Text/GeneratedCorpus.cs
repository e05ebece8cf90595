using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How a model generates its own calibration text. An immutable value.</summary>
public sealed record GeneratedCorpusOptions
{
    /// <summary>Tokens to generate. Default 32,768; at least one sequence.</summary>
    public int Tokens { get; init; } = 32_768;

    /// <summary>Tokens of one generated text. Default 256.</summary>
    public int SequenceLength { get; init; } = 256;

    /// <summary>Texts generated in a batch. Default 64.</summary>
    public int BatchSize { get; init; } = 64;

    /// <summary>Sampling temperature. Default 1, the model's own distribution; above 0.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Seed of the samples. Default 0.</summary>
    public long Seed { get; init; }
}

/// <summary>
/// Text that the model generates, each text from its begin-of-text token on: calibration where there is no data. Immutable.
/// </summary>
internal sealed class GeneratedCorpus(GeneratedCorpusOptions options) : TokenCorpus
{
    public override string Description => string.Create(
        CultureInfo.InvariantCulture,
            $"{options.Tokens} tokens sampled from the model (temperature {options.Temperature}, seed {options.Seed})");

    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var model = context.Model ?? throw new CorpusException("Text can be generated only where there is a model.");
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SequenceLength, 2, nameof(options.SequenceLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Tokens, options.SequenceLength, nameof(options.Tokens));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.BatchSize, 1, nameof(options.BatchSize));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.Temperature, nameof(options.Temperature));
        int begin = context.Tokenizer?.BosTokenId ?? context.Tokenizer?.EosTokenId
            ?? throw new CorpusException("The tokenizer names no begin-of-text or end-of-text token to start a sample from.");

        int texts = (options.Tokens + options.SequenceLength - 1) / options.SequenceLength;
        var ids = new List<int>(texts * options.SequenceLength);
        for (int first = 0; first < texts; first += options.BatchSize)
        {
            using var scope = NewDisposeScope();
            var generation = new GenerationOptions
            {
                MaxNewTokens = options.SequenceLength,
                Temperature = options.Temperature,
                Seed = unchecked(options.Seed * 1_000_003 + first),
            };
            int[][] starts = [.. Enumerable.Repeat(new[] { begin }, Math.Min(options.BatchSize, texts - first))];
            ids.AddRange(TextGenerator.Generate(model, starts, generation, cancellationToken).SelectMany(text => text));
        }

        return [.. ids.Take(options.Tokens)];
    }
}
