using System.Globalization;

namespace DispLlm;

/// <summary>Reads the quantifiers of Oniguruma's dialect.</summary>
internal static class ExpressionQuantifier
{
    private const int MostRepetitions = 100_000;

    /// <summary>
    /// A quantifier in .NET's syntax, and whether it gives nothing back; <see langword="null"/> where none comes next.
    /// </summary>
    public static (string Syntax, bool IsPossessive)? Read(ExpressionCursor cursor)
    {
        if (cursor.Next is '*' or '+' or '?')
        {
            string sign = cursor.Next.ToString();
            cursor.Skip(1);
            return cursor.Take("?") ? (sign + "?", false) : (sign, cursor.Take("+"));
        }

        if (ReadInterval(cursor) is not var (least, most))
        {
            return null;
        }

        // Here "{n}?" is an optional "{n}", a plus sign after braces is a quantifier of its own, and bounds in the wrong order give
        // nothing back.
        if (least > most)
        {
            return (Write(most.Value, least), true);
        }

        return (Write(least, most) + (least != most && cursor.Take("?") ? "?" : ""), false);
    }

    /// <summary>{n}, {n,}, {,m} or {n,m}; other braces are characters.</summary>
    private static (int Least, int? Most)? ReadInterval(ExpressionCursor cursor)
    {
        var rest = cursor.Rest;
        int close = rest.IndexOf('}');
        if (close < 2 || rest[0] != '{')
        {
            return null;
        }

        string[] bounds = rest[1..close].ToString().Split(',');
        if (bounds.Length > 2 || !bounds.All(bound => bound.All(char.IsAsciiDigit)) || bounds.All(bound => bound.Length == 0))
        {
            return null;
        }

        cursor.Skip(close + 1);
        int least = bounds[0].Length == 0 ? 0 : Count(bounds[0]);
        return (least, bounds.Length == 1 ? least : bounds[1].Length == 0 ? null : Count(bounds[1]));

        int Count(string digits) => int.TryParse(digits, CultureInfo.InvariantCulture, out int count) && count <= MostRepetitions
            ? count
            : throw cursor.Refuse($"{digits} is more than {MostRepetitions} repetitions");
    }

    private static string Write(int least, int? most) => string.Create(CultureInfo.InvariantCulture, $"{{{least},{most}}}");
}
