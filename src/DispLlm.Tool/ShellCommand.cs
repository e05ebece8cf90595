namespace DispLlm.Tool;

/// <summary>A command line as one types it.</summary>
internal static class ShellCommand
{
    /// <summary>The command with its arguments, quoted where a shell would read them otherwise.</summary>
    public static string Format(IEnumerable<string> arguments) => string.Join(' ', arguments.Select(Quoted).Prepend("displlm"));

    public static string Quoted(string argument)
    {
        if (argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:=,+@%\\~".Contains(c, StringComparison.Ordinal)) && (OperatingSystem.IsWindows() || !argument.Contains('\\')))
        {
            return argument;
        }

        return OperatingSystem.IsWindows()
            ? $"\"{argument.Replace("\"", "\\\"", StringComparison.Ordinal)}\""
            : $"'{argument.Replace("'", "'\\''", StringComparison.Ordinal)}'";
    }
}
