using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Lines as they are, however narrow the terminal: a path or a command that was broken in two cannot be copied.</summary>
internal static class UnwrappedText
{
    public static void WriteUnwrapped(this IAnsiConsole console, string text = "") => console.Profile.Out.Writer.WriteLine(text);
}
