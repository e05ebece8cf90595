namespace DispLlm.Tool;

/// <summary>Formats command lines for a shell.</summary>
internal static class ShellCommand
{
    /// <summary>The command with its arguments, quoted where needed.</summary>
    public static string Format(IEnumerable<string> arguments) => string.Join(' ', arguments.Select(Quote).Prepend("displlm"));

    /// <summary>One argument, quoted where needed.</summary>
    public static string Quote(string argument)
    {
        string allowed = OperatingSystem.IsWindows() ? "-_./:=,+@%~\\" : "-_./:=,+@%~";
        if (argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || allowed.Contains(c, StringComparison.Ordinal)))
        {
            return argument;
        }

        return OperatingSystem.IsWindows()
            ? $"\"{argument.Replace("\"", "\\\"", StringComparison.Ordinal)}\""
            : $"'{argument.Replace("'", "'\\''", StringComparison.Ordinal)}'";
    }
}
