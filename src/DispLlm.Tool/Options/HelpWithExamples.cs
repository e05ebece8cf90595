using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace DispLlm.Tool;

/// <summary>Prints the help of a command, followed by its examples and the exit codes.</summary>
internal sealed class HelpWithExamples(HelpAction help, IReadOnlyList<string> rootExamples) : SynchronousCommandLineAction
{
    /// <summary>Creates the help option of the root command and all of its commands.</summary>
    /// <param name="rootExamples">Examples of the root command.</param>
    public static HelpOption CreateOption(IReadOnlyList<string> rootExamples)
    {
        var option = new HelpOption();
        option.Action = new HelpWithExamples((HelpAction)option.Action!, rootExamples);
        return option;
    }

    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        var output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (string example in (parseResult.CommandResult.Command as ToolCommand)?.Examples ?? rootExamples)
        {
            output.WriteLine($"  {example}");
        }

        output.WriteLine();
        output.WriteLine("Exit codes:");
        foreach (var (number, meaning) in ExitCode.Meanings)
        {
            output.WriteLine($"  {number,-4} {meaning}");
        }

        return code;
    }
}
