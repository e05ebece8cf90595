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
            return RejectUsage(parsed, error);
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

    private static Command Create(IReadOnlyList<string> args) =>
        new("displlm", "Structural pruning of large language models (DISP-LLM).")
        {
            new PruneCommand(args),
            new PlanCommand(args),
            new ApplyCommand(),
            new InspectCommand(),
            new EvalCommand(),
            new GenerateCommand(),
            new TokenizeCommand(),
            HelpWithExamples.CreateOption(s_examples),
            new VersionOption(),
        };

    private static int RejectUsage(ParseResult parsed, TextWriter error)
    {
        foreach (var problem in parsed.Errors)
        {
            error.WriteLine(problem.Message);
        }

        var command = parsed.CommandResult.Command;
        error.WriteLine($"See '{(command is ToolCommand ? $"displlm {command.Name}" : command.Name)} --help'.");
        return ExitCode.Usage;
    }
}
