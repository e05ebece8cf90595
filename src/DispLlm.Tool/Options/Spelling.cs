using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>What was probably meant by a name that is none of those that there are.</summary>
internal static class Spelling
{
    /// <summary>A question that names the closest candidate, with a space before it; empty if none is close.</summary>
    /// <param name="name">The name.</param>
    /// <param name="candidates">The names that there are.</param>
    public static string Suggest(string name, IEnumerable<string> candidates)
    {
        string? closest = candidates.Where(candidate => IsClose(name, candidate)).MinBy(candidate => Distance(name, candidate));
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
        Distance(name, candidate) <= (candidate.Length + 1) / 4
        || (name.Length > 3 && candidate.StartsWith(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>Characters to insert, remove, replace, or swap with their neighbour, regardless of case.</summary>
    private static int Distance(string a, string b)
    {
        (a, b) = (a.ToUpperInvariant(), b.ToUpperInvariant());
        var distance = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++)
        {
            for (int j = 0; j <= b.Length; j++)
            {
                distance[i, j] = i == 0 || j == 0 ? i + j : Math.Min(
                    Math.Min(distance[i - 1, j], distance[i, j - 1]) + 1, distance[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    distance[i, j] = Math.Min(distance[i, j], distance[i - 2, j - 2] + 1);
                }
            }
        }

        return distance[a.Length, b.Length];
    }
}
