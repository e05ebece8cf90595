using System.CommandLine;
using DispLlm.Modeling;

namespace DispLlm.Tool;

/// <summary>What was probably meant by a name that is none of those that there are.</summary>
internal static class Spelling
{
    /// <summary>A question that names the closest candidate, with a space before it; empty if none is close.</summary>
    /// <param name="name">The name.</param>
    /// <param name="candidates">The names that there are.</param>
    public static string Suggest(string name, IEnumerable<string> candidates)
    {
        string? closest = candidates.Where(candidate => IsClose(name, candidate))
            .MinBy(candidate => (EditDistance.Between(name, candidate), !name.StartsWith(candidate, StringComparison.OrdinalIgnoreCase)));
        return closest is null ? string.Empty : $" Did you mean '{closest}'?";
    }

    /// <summary>The error for a word that begins as an option does and is none of a command.</summary>
    public static string DescribeUnknownOption(string word, Command command)
    {
        string name = word.Split('=', ':')[0];
        var names = command.Options.Where(option => !option.Hidden).SelectMany(option => option.Aliases.Prepend(option.Name));
        return $"There is no option '{name}'.{Suggest(name, names)}";
    }

    /// <summary>Whether a word is read as an option by whoever wrote it: not a negative number, nor the - of the standard input.</summary>
    public static bool LooksLikeOption(string word) => word.Length > 1 && word[0] == '-' && (word[1] == '-' || char.IsAsciiLetter(word[1]));

    private static bool IsClose(string name, string candidate) =>
        EditDistance.Between(name, candidate) <= (candidate.Length + 1) / 4
        || (name.Length > 3 && candidate.StartsWith(name, StringComparison.OrdinalIgnoreCase));
}
