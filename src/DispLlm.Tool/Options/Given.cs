using System.CommandLine;
using System.CommandLine.Parsing;

namespace DispLlm.Tool;

/// <summary>What the command line says itself, and what is only a default.</summary>
internal static class GivenOptions
{
    /// <summary>Whether the option stands on the command line.</summary>
    public static bool Given(this CommandResult command, Option option) => command.GetResult(option) is { Implicit: false };
}
