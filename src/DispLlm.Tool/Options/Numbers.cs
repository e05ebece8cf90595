using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Options that take a number within a range.</summary>
internal static class Numbers
{
    /// <summary>Refuses numbers below the least one.</summary>
    public static Option<T> AtLeast<T>(this Option<T> option, T least)
        where T : struct, IComparable<T>
    {
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && result.GetValueOrDefault<T>() is var value && value.CompareTo(least) < 0)
            {
                result.AddError(string.Create(CultureInfo.InvariantCulture, $"'{option.Name} {value}': it has to be at least {least}."));
            }
        });
        return option;
    }

    /// <summary>Refuses numbers below the least one; the option may be left out.</summary>
    public static Option<T?> AtLeast<T>(this Option<T?> option, T least)
        where T : struct, IComparable<T>
    {
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && result.GetValueOrDefault<T?>() is { } value && value.CompareTo(least) < 0)
            {
                result.AddError(string.Create(CultureInfo.InvariantCulture, $"'{option.Name} {value}': it has to be at least {least}."));
            }
        });
        return option;
    }
}
