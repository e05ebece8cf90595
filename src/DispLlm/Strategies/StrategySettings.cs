using System.Globalization;
using System.Runtime.CompilerServices;

namespace DispLlm;

/// <summary>Settings of a strategy as text, by name.</summary>
internal sealed class StrategySettings : Dictionary<string, string>
{
    public StrategySettings()
        : base(StringComparer.Ordinal)
    {
    }

    /// <summary>Adds a value under the name of the property it was read from.</summary>
    public StrategySettings With(object? value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        Add(name[(name.LastIndexOf('.') + 1)..], value switch
        {
            null => "none",
            IFormattable formattable => formattable.ToString(null, CultureInfo.InvariantCulture),
            _ => value.ToString()!,
        });
        return this;
    }

    /// <summary>Adds another strategy: its name, and its settings under this one's name.</summary>
    public StrategySettings With(ISelectionStrategy strategy, string name)
    {
        Add(name, strategy.Name);
        foreach (var (key, value) in strategy.Settings)
        {
            Add($"{name}.{key}", value);
        }

        return this;
    }
}
