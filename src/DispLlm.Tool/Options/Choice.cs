using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>An option that takes one of a few names, each of which stands for a value.</summary>
internal sealed class Choice<T> : Option<string>
{
    private readonly Dictionary<string, T> _values;

    /// <param name="name">The option.</param>
    /// <param name="description">What it is for, with the names to choose from.</param>
    /// <param name="values">Names and values; the first is the default.</param>
    public Choice(string name, string description, params (string Name, T Value)[] values)
        : base(name)
    {
        _values = values.ToDictionary(value => value.Name, value => value.Value, StringComparer.Ordinal);
        Description = description;
        HelpName = name.TrimStart('-');
        DefaultValueFactory = _ => values[0].Name;
        this.AcceptOnlyFromAmong([.. values.Select(value => value.Name)]);
    }

    public T Read(ParseResult arguments) => _values[arguments.GetRequiredValue(this)];

    /// <summary>The chosen value while the command line is still being checked; the default where the name is not one of them.</summary>
    public T? Peek(System.CommandLine.Parsing.CommandResult command) =>
        _values.GetValueOrDefault(command.GetValue(this) ?? string.Empty);
}
