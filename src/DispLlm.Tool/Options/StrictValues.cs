using System.CommandLine;
using System.CommandLine.Parsing;
using System.Numerics;

namespace DispLlm.Tool;

/// <summary>
/// The rules for every value on the command line, installed over the whole command tree. System.CommandLine alone reads numbers by the
/// language of the system, takes a misspelt option for a value, and ends the process where a validator meets a value that cannot be read.
/// </summary>
internal static class StrictValues
{
    /// <summary>Installs the rules in a command and all below it.</summary>
    /// <param name="command">The command.</param>
    /// <param name="args">The command line.</param>
    public static void Install(Command command, IReadOnlyList<string> args)
    {
        // First, since the validators of a command run before those of its options: how values fit together matters once each is right.
        command.Validators.Insert(0, result =>
        {
            foreach (string problem in FindProblems(result, args))
            {
                result.AddError(problem);
            }
        });
        Guard(command.Validators);
        foreach (var option in command.Options)
        {
            InstallParser(option);
            Guard(option.Validators);
        }

        foreach (var child in command.Subcommands)
        {
            Install(child, args);
        }
    }

    /// <summary>One problem is enough to say. A validator may read any value; those that cannot be read are reported elsewhere.</summary>
    private static void Guard<TResult>(List<Action<TResult>> validators)
        where TResult : SymbolResult
    {
        for (int i = 0; i < validators.Count; i++)
        {
            var validate = validators[i];
            validators[i] = result =>
            {
                try
                {
                    if (!result.Errors.Any())
                    {
                        validate(result);
                    }
                }
                catch (InvalidOperationException)
                {
                }
            };
        }
    }

    private static void InstallParser(Option option)
    {
        switch (option)
        {
            case Option<int> number: number.CustomParser = Parse<int>; break;
            case Option<int?> number: number.CustomParser = result => Parse<int>(result); break;
            case Option<long> number: number.CustomParser = Parse<long>; break;
            case Option<long?> number: number.CustomParser = result => Parse<long>(result); break;
            case Option<double> number: number.CustomParser = Parse<double>; break;
            case Option<double?> number: number.CustomParser = result => Parse<double>(result); break;
        }
    }

    /// <summary>Reads a number. What is none is reported by <see cref="FindProblems"/>.</summary>
    private static T Parse<T>(ArgumentResult result)
        where T : struct, INumber<T>, IMinMaxValue<T> =>
        result.Tokens is [var token] && NumberText.TryParse(token.Value, out T value) ? value : default;

    /// <summary>What is wrong with the values of a command, each by itself: at most one problem for each option and argument.</summary>
    /// <param name="result">The command.</param>
    /// <param name="args">The command line.</param>
    public static IEnumerable<string> FindProblems(CommandResult result, IReadOnlyList<string> args)
    {
        foreach (string[] flag in args.TakeWhile(arg => arg != "--").Select(arg => arg.Split('=', ':')).Where(parts => parts.Length > 1))
        {
            if (result.Command.Options.Any(option => option is Option<bool> && option.Aliases.Prepend(option.Name).Contains(flag[0]))
                && !bool.TryParse(flag[1], out _))
            {
                yield return $"'{flag[0]}' takes no value.";
            }
        }

        // What follows -- is a value, however it begins.
        HashSet<string> literal = [.. args.SkipWhile(arg => arg != "--").Skip(1)];
        foreach (var child in result.Children)
        {
            var (symbol, words) = child switch
            {
                OptionResult option => ((Symbol)option.Option, option.Tokens),
                ArgumentResult argument => (argument.Argument, argument.Tokens),
                _ => (child is CommandResult command ? command.Command : result.Command, []),
            };
            string? problem = words.Select(token => token.Value).Where(word => !literal.Contains(word))
                .Select(word => FindProblem(symbol, word, result.Command)).FirstOrDefault(problem => problem is not null);
            if (problem is not null)
            {
                yield return problem;
            }
        }
    }

    private static string? FindProblem(Symbol symbol, string word, Command command)
    {
        string? number = symbol switch
        {
            Option<int> or Option<int?> => FindProblem<int>(word),
            Option<long> or Option<long?> => FindProblem<long>(word),
            Option<double> or Option<double?> => FindProblem<double>(word),
            _ => null,
        };
        return number is not null ? $"'{symbol.Name} {word}': {number}"
            : word.Length == 0 && symbol is not TextArgument ? $"'{symbol.Name}' is empty."
            : Spelling.LooksLikeOption(word)
                ? $"{Spelling.DescribeUnknownOption(word, command)} Only after -- may a value begin with a dash."
            : null;
    }

    private static string? FindProblem<T>(string word)
        where T : struct, INumber<T>, IMinMaxValue<T> =>
        NumberText.TryParse(word, out T _) ? null : NumberText.Describe<T>(word);
}

/// <summary>An argument that is any text, also an empty one.</summary>
internal sealed class TextArgument(string name) : Argument<string>(name);
