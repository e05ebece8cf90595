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

    /// <summary>Texts generated in a batch. Default 64. A run that is killed has lost the batch that it was in.</summary>
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
    private const string Ids = "ids";

    public int Tokens => options.Tokens;

    public override string Description => string.Create(
        CultureInfo.InvariantCulture,
            $"{options.Tokens} tokens sampled from the model (temperature {options.Temperature}, seed {options.Seed})");

    /// <summary>Refuses what would fail once the model has begun to generate. Needs no weights.</summary>
    /// <returns>The token that every text begins with.</returns>
    /// <exception cref="CorpusException">The tokenizer has no such token, or the model does not know it.</exception>
    internal int EnsurePossible(CorpusContext context)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SequenceLength, 2, nameof(options.SequenceLength));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Tokens, options.SequenceLength, nameof(options.Tokens));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.BatchSize, 1, nameof(options.BatchSize));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(options.Temperature, nameof(options.Temperature));
        var tokenizer = RequireTokenizer(context);
        int begin = tokenizer.BosTokenId ?? tokenizer.EosTokenId
            ?? throw new CorpusException("The tokenizer names no begin-of-text or end-of-text token to start a sample from.");
        return begin < (context.VocabularySize ?? int.MaxValue)
            ? begin
            : throw new CorpusException(
                $"A sample begins with token id {begin}, but the model's ids are 0 to {context.VocabularySize - 1}. Is the tokenizer "
                    + "another model's?");
    }

    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var model = context.Model ?? throw new CorpusException("Text can be generated only where there is a model.");
        int begin = EnsurePossible(context);
        int texts = (options.Tokens + options.SequenceLength - 1) / options.SequenceLength;
        var state = context.SampleFile is { } file ? SavedState.Open(file, Describe(model, begin), context.Logger) : null;
        var ids = new List<int>(state?.Exists == true ? Load(state) : []);
        for (int first = ids.Count / options.SequenceLength; first < texts; first += options.BatchSize)
        {
            using var scope = NewDisposeScope();
            var generation = new GenerationOptions
            {
                MaxNewTokens = options.SequenceLength,
                Temperature = options.Temperature,
                Seed = unchecked(options.Seed * 1_000_003 + first),
            };
            int[][] starts = [.. Enumerable.Repeat(new[] { begin }, Math.Min(options.BatchSize, texts - first))];
            using var run = new GenerationRun(model, starts, generation);
            while (run.Next(cancellationToken))
            {
                double done = first + ((double)starts.Length * run.Texts[0].Count / options.SequenceLength);
                context.Progress?.Report(done / texts);
            }

            ids.AddRange(run.Texts.SelectMany(text => text));
            state?.Try(() => state.Save(ids.Count, [KeyValuePair.Create(Ids, tensor(ids.ToArray()))]));
        }

        return [.. ids.Take(options.Tokens)];
    }

    private static int[] Load(SavedState state)
    {
        using var scope = NewDisposeScope();
        return state.Load().Tensors[Ids].data<int>().ToArray();
    }

    private Dictionary<string, string> Describe(IPrunableModel model, int begin)
    {
        var identity = ModelIdentity.Describe(model);
        foreach (var (name, value) in new (string, IFormattable)[]
        {
            ("text.begin", begin),
            ("text.tokens", options.Tokens),
            ("text.sequence_length", options.SequenceLength),
            ("text.batch_size", options.BatchSize),
            ("text.temperature", options.Temperature),
            ("text.seed", options.Seed),
        })
        {
            identity[name] = value.ToString(null, CultureInfo.InvariantCulture);
        }

        return identity;
    }
}
