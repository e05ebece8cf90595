using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace DispLlm.Tool;

/// <summary>The help of a command, with its examples and the exit codes behind it.</summary>
internal sealed class HelpWithExamples(HelpAction help, IReadOnlyList<string> examples) : SynchronousCommandLineAction
{
    /// <summary>The option that asks for help, for the command as a whole and for every verb.</summary>
    /// <param name="examples">Examples of the command as a whole; each verb has its own.</param>
    public static HelpOption Option(IReadOnlyList<string> examples)
    {
        var option = new HelpOption();
        option.Action = new HelpWithExamples((HelpAction)option.Action!, examples);
        return option;
    }

    public override int Invoke(ParseResult parseResult)
    {
        int code = help.Invoke(parseResult);
        var output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (string example in (parseResult.CommandResult.Command as Verb)?.Examples ?? examples)
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
