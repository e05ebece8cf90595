using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Parsing;

namespace DispLlm.Tool;

/// <summary>An option that takes one of several names, each of which stands for a value.</summary>
internal sealed class ChoiceOption<T> : Option<string>
{
    private readonly Dictionary<string, T> _values;

    /// <param name="name">The option.</param>
    /// <param name="description">Its description, including the names.</param>
    /// <param name="values">Names and values; the first is the default.</param>
    public ChoiceOption(string name, string description, params (string Name, T Value)[] values)
        : base(name)
    {
        _values = values.ToDictionary(value => value.Name, value => value.Value, StringComparer.Ordinal);
        Description = description;
        HelpName = name.TrimStart('-');
        DefaultValueFactory = _ => values[0].Name;
        this.AcceptOneOf([.. values.Select(value => value.Name)]);
    }

    public T Read(ParseResult arguments) => _values[arguments.GetRequiredValue(this)];

    /// <summary>The value during validation; default if the name is not valid.</summary>
    public T? ReadOrDefault(CommandResult command) => _values.GetValueOrDefault(command.GetValue(this) ?? string.Empty);
}

/// <summary>Validation of options.</summary>
internal static class OptionExtensions
{
    /// <summary>Rejects numbers below a minimum.</summary>
    public static TOption AtLeast<TOption>(this TOption option, double minimum)
        where TOption : Option
    {
        option.Validators.Add(result =>
        {
            string text = result.Tokens is [var token] ? token.Value : string.Empty;
            if (NumberText.TryParse(text, out double value) && value < minimum)
            {
                result.AddError($"'{option.Name} {text}': the minimum is {NumberText.Format(minimum)}.");
            }
        });
        return option;
    }

    /// <summary>Rejects names that are none of some, in one line.</summary>
    public static void AcceptOneOf(this Option option, params string[] names)
    {
        option.CompletionSources.Add(_ => names.Select(name => new CompletionItem(name)));
        option.Validators.Add(result =>
        {
            if (result.Tokens.FirstOrDefault(token => !names.Contains(token.Value, StringComparer.Ordinal)) is { } token)
            {
                result.AddError(
                    $"'{option.Name} {token.Value}': use one of {string.Join(", ", names)}.{Spelling.Suggest(token.Value, names)}");
            }
        });
    }

    /// <summary>Explains why a fraction is rejected; a percentage was meant where a hundredth of it would not be.</summary>
    /// <param name="option">The option.</param>
    /// <param name="findProblem">What is wrong with a fraction; null if nothing is.</param>
    public static void AcceptFraction(this Option option, Func<double, string?> findProblem) => option.Validators.Add(result =>
    {
        if (result.Tokens is [var token] && NumberText.TryParse(token.Value, out double value) && findProblem(value) is { } problem)
        {
            string hint = value >= 2 && findProblem(value / 100) is null
                ? $" Did you mean {NumberText.Format(value / 100)}?"
                : string.Empty;
            result.AddError($"'{option.Name} {token.Value}': {problem}{hint}");
        }
    });

    /// <summary>Whether the option is on the command line, rather than its default.</summary>
    public static bool IsSpecified(this CommandResult command, Option option) => command.GetResult(option) is { Implicit: false };
}
