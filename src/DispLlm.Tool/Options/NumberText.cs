using System.Globalization;
using System.Numerics;

namespace DispLlm.Tool;

/// <summary>
/// Numbers on the command line, written as in code whatever the language of the system: a decimal point, no separators of thousands.
/// </summary>
internal static class NumberText
{
    private const NumberStyles Whole = NumberStyles.AllowLeadingSign;
    private const NumberStyles Real = Whole | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;

    /// <summary>Reads a finite number.</summary>
    /// <typeparam name="T">A whole number, or a double.</typeparam>
    /// <param name="text">The text.</param>
    /// <param name="value">The number; 0 if it is none.</param>
    public static bool TryParse<T>(string text, out T value)
        where T : struct, INumber<T>, IMinMaxValue<T>
    {
        if (T.TryParse(text, IsWhole<T>() ? Whole : Real, CultureInfo.InvariantCulture, out value) && T.IsFinite(value))
        {
            return true;
        }

        value = default;
        return false;
    }

    /// <summary>What is wrong with a text that is no such number, and what was probably meant.</summary>
    public static string Describe<T>(string text)
        where T : struct, INumber<T>, IMinMaxValue<T>
    {
        string expected = IsWhole<T>()
            ? string.Create(CultureInfo.InvariantCulture, $"a whole number from {T.MinValue} to {T.MaxValue} is expected")
            : "a number is expected, such as 0.3";
        string form = text.Contains(',', StringComparison.Ordinal) ? ", with a point before decimals and no comma" : string.Empty;
        return $"{expected}{form}.{(Guess<T>(text) is { } guess ? $" Did you mean {guess}?" : string.Empty)}";
    }

    /// <summary>The number as it is written on the command line.</summary>
    public static string Format(double value) => value.ToString("0.############", CultureInfo.InvariantCulture);

    private static string? Guess<T>(string text)
        where T : struct, INumber<T>, IMinMaxValue<T>
    {
        if (!IsWhole<T>())
        {
            return text.EndsWith('%') && TryParse(text[..^1], out double percent) ? Format(percent / 100)
                : text.Count(c => c == ',') == 1 && TryParse(text.Replace(',', '.'), out double value) ? Format(value)
                : null;
        }

        string digits = string.Concat(text.Where(c => c is not (',' or '_' or '\'' or ' ')));
        return TryParse(digits, out T whole) ? whole.ToString(null, CultureInfo.InvariantCulture)
            : TryParse(text, out double real) && real == Math.Floor(real) && TryParse(Format(real), out whole)
                ? whole.ToString(null, CultureInfo.InvariantCulture)
            : null;
    }

    private static bool IsWhole<T>() => typeof(T) != typeof(double);
}
