using System.CommandLine;
using System.CommandLine.Invocation;

namespace DispLlm.Tool;

/// <summary>The command-line interface: its commands, its help, and errors of the command line.</summary>
internal static class DispLlmCli
{
    private static readonly string[] s_examples =
    [
        "displlm prune ./model --ratio 0.3",
        "displlm eval ./model ./model-pruned-30",
        "displlm generate ./model-pruned-30 \"Once upon a time\"",
    ];

    /// <summary>Runs a command line.</summary>
    /// <param name="args">The arguments.</param>
    /// <param name="output">Receives results and help.</param>
    /// <param name="error">Receives progress, warnings and errors.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string[] args, TextWriter output, TextWriter error)
    {
        var parsed = Create(args).Parse(args);
        if (parsed.Action is ParseErrorAction)
        {
            return RejectUsage(parsed, args, output, error);
        }

        // The commands handle signals themselves: a run is saved, however long the current step takes.
        return await parsed.InvokeAsync(
            new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
                Output = output,
                Error = error,
            });
    }

    /// <summary>The command tree.</summary>
    /// <param name="args">The whole command line.</param>
    internal static Command Create(IReadOnlyList<string> args)
    {
        var root = new Command("displlm", "Structural pruning of large language models (DISP-LLM).")
        {
            new PruneCommand(args),
            new PlanCommand(args),
            new ApplyCommand(),
            new InspectCommand(),
            new EvalCommand(),
            new GenerateCommand(),
            new ExportCommand(),
            new TokenizeCommand(),
            new FamiliesCommand(),
            HelpWithExamples.CreateOption(s_examples),
            new VersionOption(),
        };
        StrictValues.Install(root, args);
        return root;
    }

    private static int RejectUsage(ParseResult parsed, string[] args, TextWriter output, TextWriter error)
    {
        var command = parsed.CommandResult.Command;
        string help = $"See '{(command is ToolCommand ? $"displlm {command.Name}" : command.Name)} --help'.";
        string message = $"{string.Join(Environment.NewLine, FindProblems(parsed, args))} {help}";
        error.WriteLine(message);
        if (parsed.Tokens.Any(token => token.Value == "--json"))
        {
            output.WriteLine(Terminal.Indent(new Failure(ExitCode.Usage, "UsageError", message, IsExpected: true).ToJson()));
        }

        return ExitCode.Usage;
    }

    /// <summary>One line each. What no command and no option knows comes alone: the other problems mostly follow from it.</summary>
    private static List<string> FindProblems(ParseResult parsed, string[] args)
    {
        var (command, unknown) = (parsed.CommandResult.Command, parsed.UnmatchedTokens);
        if (command is not ToolCommand && unknown is [var name, ..] && !Spelling.LooksLikeOption(name))
        {
            return [$"There is no command '{name}'.{Spelling.Suggest(name, command.Subcommands.Select(child => child.Name))}"];
        }

        if (unknown.FirstOrDefault(Spelling.LooksLikeOption) is { } option)
        {
            return [Spelling.DescribeUnknownOption(option, command)];
        }

        // Where there is one value too many, System.CommandLine looks at no other.
        List<string> values = [.. StrictValues.FindProblems(parsed.CommandResult, args)];
        return values.Count > 0 ? values
            : unknown.Count > 0 ? [$"'{unknown[0]}' is one value too many."]
            : [.. parsed.Errors.Select(problem => problem.Message.ReplaceLineEndings(" ")).Distinct()];
    }
}
