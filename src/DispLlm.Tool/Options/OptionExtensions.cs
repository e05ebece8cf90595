using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

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
        this.AcceptOnlyFromAmong([.. values.Select(value => value.Name)]);
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
            if (double.TryParse(text, CultureInfo.InvariantCulture, out double value) && value < minimum)
            {
                result.AddError($"'{option.Name} {text}': the minimum is {minimum}.");
            }
        });
        return option;
    }

    /// <summary>Whether the option is on the command line, rather than its default.</summary>
    public static bool IsSpecified(this CommandResult command, Option option) => command.GetResult(option) is { Implicit: false };
}
