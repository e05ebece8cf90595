using System.Globalization;
using System.Text;

namespace DispLlm;

/// <summary>
/// Unicode's four normalization forms, with the tables of Unicode 9 as Hugging Face's tokenizers have them. .NET's own forms follow the
/// system's library, and change nothing at all where an application asks for invariant globalization. Thread-safe.
/// </summary>
internal static class UnicodeNormalization
{
    private const int HangulBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int Leads = 19, Vowels = 21, Tails = 28;

    private static readonly Lazy<Tables> s_tables = new(Tables.Read);

    /// <summary>Normalizes a text.</summary>
    /// <param name="text">Text without lone surrogates.</param>
    /// <param name="compose">Whether characters are composed: NFC and NFKC.</param>
    /// <param name="compatibility">Whether compatibility characters are replaced: NFKC and NFKD.</param>
    public static string Normalize(string text, bool compose, bool compatibility)
    {
        if (Ascii.IsValid(text))
        {
            return text;
        }

        var tables = s_tables.Value;
        var points = new List<int>(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, compatibility, tables, points);
        }

        Order(points, tables);
        if (compose)
        {
            Compose(points, tables);
        }

        var result = new StringBuilder(text.Length);
        foreach (int point in points)
        {
            result.Append(new Rune(point));
        }

        return result.ToString();
    }

    private static void Decompose(int point, bool compatibility, Tables tables, List<int> points)
    {
        if (point is >= HangulBase and < HangulBase + (Leads * Vowels * Tails))
        {
            int syllable = point - HangulBase;
            points.Add(LeadBase + (syllable / (Vowels * Tails)));
            points.Add(VowelBase + (syllable / Tails % Vowels));
            if (syllable % Tails > 0)
            {
                points.Add(TailBase + (syllable % Tails));
            }
        }
        else if (tables.Canonical.TryGetValue(point, out int[]? parts)
            || (compatibility && tables.Compatibility.TryGetValue(point, out parts)))
        {
            foreach (int part in parts)
            {
                Decompose(part, compatibility, tables, points);
            }
        }
        else
        {
            points.Add(point);
        }
    }

    /// <summary>Sorts every run of combining marks by class; marks of one class keep their order.</summary>
    private static void Order(List<int> points, Tables tables)
    {
        for (int start = 0; start < points.Count; start++)
        {
            int end = start;
            while (end < points.Count && tables.Classes.ContainsKey(points[end]))
            {
                end++;
            }

            if (end - start > 1)
            {
                int[] sorted = [.. points.GetRange(start, end - start).OrderBy(point => tables.Classes[point])];
                for (int i = 0; i < sorted.Length; i++)
                {
                    points[start + i] = sorted[i];
                }
            }

            start = end;
        }
    }

    private static void Compose(List<int> points, Tables tables)
    {
        int starter = -1, lastClass = 0, written = 0;
        for (int i = 0; i < points.Count; i++)
        {
            int point = points[i];
            int markClass = tables.Classes.GetValueOrDefault(point);

            // A mark is blocked from its starter by another one of the same or a higher class in between.
            bool isBlocked = written > starter + 1 && (lastClass == 0 || lastClass >= markClass);
            if (starter >= 0 && !isBlocked && tables.Pair(points[starter], point) is { } composed)
            {
                points[starter] = composed;
                continue;
            }

            if (markClass == 0)
            {
                starter = written;
            }

            lastClass = markClass;
            points[written++] = point;
        }

        points.RemoveRange(written, points.Count - written);
    }

    private sealed class Tables
    {
        private readonly Dictionary<(int, int), int> _pairs = [];

        public Dictionary<int, int[]> Canonical { get; } = [];

        public Dictionary<int, int[]> Compatibility { get; } = [];

        public Dictionary<int, int> Classes { get; } = [];

        public static Tables Read()
        {
            var tables = new Tables();
            var excluded = CodePointSet.Empty;
            foreach (string line in UnicodeTables.Lines("Normalization.txt"))
            {
                int sign = line.AsSpan().IndexOfAny('=', '<', ':');
                if (line[sign] != ':')
                {
                    int[] parts = [.. line[(sign + 1)..].Split(' ').Select(Hex)];
                    (line[sign] == '=' ? tables.Canonical : tables.Compatibility).Add(Hex(line[..sign]), parts);
                }
                else if (line.StartsWith("class ", StringComparison.Ordinal))
                {
                    int markClass = int.Parse(line.AsSpan(6, sign - 6), CultureInfo.InvariantCulture);
                    foreach (int point in CodePointSet.Parse(line.AsSpan(sign + 2)).Points())
                    {
                        tables.Classes.Add(point, markClass);
                    }
                }
                else
                {
                    excluded = CodePointSet.Parse(line.AsSpan(sign + 2));
                }
            }

            foreach (var (point, parts) in tables.Canonical)
            {
                if (parts.Length == 2 && !excluded.Contains(point))
                {
                    tables._pairs.Add((parts[0], parts[1]), point);
                }
            }

            return tables;
        }

        public int? Pair(int first, int second)
        {
            if (first is >= LeadBase and < LeadBase + Leads && second is >= VowelBase and < VowelBase + Vowels)
            {
                return HangulBase + ((((first - LeadBase) * Vowels) + second - VowelBase) * Tails);
            }

            bool isOpenSyllable = first is >= HangulBase and < HangulBase + (Leads * Vowels * Tails) && (first - HangulBase) % Tails == 0;
            return isOpenSyllable && second is > TailBase and < TailBase + Tails
                ? first + second - TailBase
                : _pairs.TryGetValue((first, second), out int composed) ? composed : null;
        }

        private static int Hex(string digits) => Convert.ToInt32(digits, 16);
    }
}
