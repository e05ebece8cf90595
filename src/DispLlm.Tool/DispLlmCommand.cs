using System.CommandLine;
using System.CommandLine.Invocation;

namespace DispLlm.Tool;

/// <summary>The command as a whole: its verbs, its help, and what becomes of a command line that cannot be read.</summary>
internal static class DispLlmCommand
{
    private static readonly string[] s_examples =
    [
        "displlm prune ./model --ratio 0.3",
        "displlm eval ./model ./model-pruned-30",
        "displlm generate ./model-pruned-30 \"Once upon a time\"",
    ];

    public static async Task<int> RunAsync(string[] args)
    {
        var parsed = Create(args).Parse(args);
        if (parsed.Action is ParseErrorAction)
        {
            return RefuseUsage(parsed);
        }

        // Signals are the verb's: it saves its run, however long the step takes that is being done.
        return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
    }

    private static Command Create(IReadOnlyList<string> args) =>
        new("displlm", "Makes large language models smaller: learns which features a model can do without, and cuts them out of its checkpoint.")
        {
            new PruneVerb(args),
            new PlanVerb(args),
            new ApplyVerb(),
            new InspectVerb(),
            new EvalVerb(),
            new GenerateVerb(),
            HelpWithExamples.Option(s_examples),
            new VersionOption(),
        };

    private static int RefuseUsage(ParseResult parsed)
    {
        foreach (var error in parsed.Errors)
        {
            Console.Error.WriteLine(error.Message);
        }

        var command = parsed.CommandResult.Command;
        Console.Error.WriteLine($"'{(command is Verb ? $"displlm {command.Name}" : command.Name)} --help' says what can be asked for.");
        return ExitCode.Usage;
    }
}
