using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Text to learn on or to measure with: files, or what a model samples from itself.</summary>
internal sealed class TextOptions
{
    /// <summary>Tokens of one sampled text, where the model's positions and the tokens asked for allow.</summary>
    private const int SampleWindow = 256;

    private readonly Option<int> _sample;

    /// <param name="purpose">What the text is for, as the help says it.</param>
    public TextOptions(string purpose)
    {
        Files = new Option<string[]>("--text")
        {
            Description = $"UTF-8 text {purpose}; give it again for more files. Default: text that the model samples from itself",
            HelpName = "file",
            DefaultValueFactory = _ => [],
        };
        _sample = new Option<int>("--sample")
        {
            Description = "Tokens to sample where there is no --text",
            HelpName = "tokens",
            DefaultValueFactory = _ => new GeneratedCorpusOptions().Tokens,
        }.AtLeast(2);
    }

    public Option<string[]> Files { get; }

    public void AddTo(Command command)
    {
        command.Options.Add(Files);
        command.Options.Add(_sample);
        command.Validators.Add(result =>
        {
            if (result.Given(_sample) && result.Given(Files))
            {
                result.AddError("'--sample' is for a text that the model samples; with '--text' there is none.");
            }
        });
    }

    /// <summary>The text in the model's tokens, read or sampled once however often it is used.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="terminal">Where it is shown.</param>
    /// <param name="model">The model that samples, and whose tokenizer reads.</param>
    /// <param name="seed">Seed of the sample.</param>
    /// <param name="cancellation">Stops.</param>
    public async Task<TokenCorpus> ReadAsync(ParseResult arguments, Terminal terminal, IPrunableModel model, long seed, CancellationToken cancellation)
    {
        string[] files = arguments.GetRequiredValue(Files);
        var corpus = files.Length > 0 ? TokenCorpus.FromTextFiles(files) : Sampled(arguments.GetRequiredValue(_sample), model, seed);
        string what = files.Length > 0
            ? $"Reading {string.Join(", ", files.Select(Path.GetFileName))}"
            : string.Create(CultureInfo.InvariantCulture, $"Sampling {arguments.GetRequiredValue(_sample):N0} tokens of text from the model itself");
        int[] tokens = await terminal.ShowAsync(what, _ => corpus.Tokenize(CorpusContext.For(model), cancellation));
        return TokenCorpus.FromTokens(tokens);
    }

    /// <summary>Text that a model samples from itself.</summary>
    public static TokenCorpus Sampled(int tokens, IPrunableModel model, long seed) => TokenCorpus.GeneratedByModel(new GeneratedCorpusOptions
    {
        Tokens = tokens,
        SequenceLength = Math.Min(Math.Min(SampleWindow, tokens), model.Spec.MaxPositions),
        Seed = seed,
    });
}
