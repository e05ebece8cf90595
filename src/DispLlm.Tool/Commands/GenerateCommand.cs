using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;

namespace DispLlm.Tool;

/// <summary>Generates text with a model, dense or pruned.</summary>
internal sealed class GenerateCommand : ToolCommand
{
    private readonly Argument<string> _model = new("model") { Description = "Checkpoint folder, dense or pruned" };
    private readonly TextArgument _prompt = new("prompt") { Description = "Prompt to continue; - reads it from the standard input" };

    private readonly Option<int> _tokens = new Option<int>("--tokens", "-n")
    {
        Description = "Maximum number of new tokens",
        HelpName = "n",
        DefaultValueFactory = _ => new GenerationOptions().MaxNewTokens,
    }.AtLeast(1);

    private readonly Option<double> _temperature = new Option<double>("--temperature", "-t")
    {
        Description = "Sampling temperature; 0 always takes the most likely token",
        HelpName = "t",
        DefaultValueFactory = _ => 0,
    }.AtLeast(0.0);

    private readonly Option<int?> _topK =
        new Option<int?>("--top-k") { Description = "Sample from the k most likely tokens. Default: all", HelpName = "n" }.AtLeast(1);

    private readonly Option<double?> _topP =
        new("--top-p") { Description = "Sample from the smallest set of tokens with this total probability. Default: all", HelpName = "p" };

    private readonly Option<long> _seed = new("--seed") { Description = "Seed of sampling", HelpName = "n", DefaultValueFactory = _ => 0 };

    private readonly BackendOptions _backend = new();

    public GenerateCommand()
        : base(
            "generate",
            "Continue a text. The continuation is streamed to the standard output.",
            "displlm generate ./model-pruned-30 \"Once upon a time\"",
            "displlm generate ./model \"Once upon\" --temperature 0.8 --tokens 200",
            "displlm generate ./model - < prompt.txt")
    {
        Arguments.Add(_model);
        Arguments.Add(_prompt);
        _topP.AcceptFraction(p => p is > 0 and <= 1 ? null : "it must be above 0 and at most 1.");
        foreach (var option in (Option[])[_tokens, _temperature, _topK, _topP, _seed])
        {
            Options.Add(option);
        }

        _backend.AddTo(this);
        AddCommonOptions();
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        string folder = arguments.GetRequiredValue(_model), prompt = arguments.GetRequiredValue(_prompt);
        if (prompt == "-")
        {
            prompt = await Console.In.ReadToEndAsync(cancellationToken);
        }

        var options = new GenerationOptions
        {
            MaxNewTokens = arguments.GetRequiredValue(_tokens),
            Temperature = arguments.GetRequiredValue(_temperature),
            TopK = arguments.GetValue(_topK),
            TopP = arguments.GetValue(_topP),
            Seed = arguments.GetRequiredValue(_seed),
        };
        var text = new StringBuilder();
        try
        {
            TextTokenizer tokenizer;
            using (var outline = Describe(folder))
            {
                tokenizer = TextTokenizer.FromFolder(folder);
                GenerationRun.EnsureFits(outline.Spec, [new ContinuationDecoder(tokenizer, prompt).PromptIds], options);
            }

            using var model = await LoadAsync(folder, _backend.Create(arguments, terminal), terminal, cancellationToken);
            await foreach (string piece in TextGenerator.GenerateStreamingAsync(model, tokenizer, prompt, options, cancellationToken))
            {
                text.Append(piece);
                terminal.Stream(piece);
            }
        }
        catch (ArgumentException e)
        {
            // The prompt is empty, or it and the new tokens exceed the positions of the model.
            throw new ToolException(e.Message, e);
        }

        terminal.Result(
            new JsonObject { ["model"] = folder, ["prompt"] = prompt, ["continuation"] = text.ToString() },
            console => console.WriteUnwrapped());
    }
}
