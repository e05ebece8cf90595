using System.Globalization;
using System.Text;

namespace DispLlm.Tests.Text;

/// <summary>Random texts of every script, with what tokenizers trip over: runs of spaces, marks, emoji, digits.</summary>
internal static class RandomTexts
{
    private static readonly string[] s_tricky =
    [
        " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\u00A0", "\u3000", "\u2003", "\u200B", "\u200D", "\u2028", "\uFEFF",
        "\u0000", "\u0001", "\u0085",
        "'s", "'S", "'ll", "'LL", "'\u017F", "'re", "don't", "I'VE", "1", "12", "123", "1234", "3.14", "½", "²", "Ⅷ", "٣٤", "१२",
        "e\u0301", "\u0301", "A\u030A\u0327", "\u1E9B\u0323", "\u212B", "ﬁ", "ß", "İ", "ı", "ǅ", "ʰ", "각", "\u1100\u1161\u11A8",
        "👩\u200D👩\u200D👧", "🇫🇷", "🙂", "☝🏽", "❤\uFE0F", "𝒜𝔅", "𐍈", "𞤀", "🦙", "▁", "▁▁", "Ġ", "Ċ", "<0x41>", "<0xE2>", "<s>", "</s>", "<unk>",
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[INST]", "<bos>", "<eos>", "<|user|>", "<|begin_of_text|>",
        "日本語", "中文，标点。", "한국어", "العربية", "हिन्दी", "ไทย", "Ünïcödé", "Ωμέγα", "кириллица", "עברית", "camelCaseHTTPServer", "snake_case",
        "the", " the", " of", "and", "hello", "World", "ALLCAPS", "...", "--", "!?", "=>", "//", "()", "{}", "$", "^", "`", "~", "|",
        ">>", "\"", "\\",
    ];

    private static readonly int[] s_assigned = [.. Enumerable.Range(0, 0x110000).Where(point => Rune.IsValid(point)
        && CharUnicodeInfo.GetUnicodeCategory(point) is not (UnicodeCategory.OtherNotAssigned or UnicodeCategory.PrivateUse))];

    /// <summary>The same texts for the same seed.</summary>
    public static IEnumerable<string> Create(int count, int seed, params string[] alsoWith)
    {
        var random = new Random(seed);
        string[] tricky = [.. s_tricky, .. alsoWith];
        for (int i = 0; i < count; i++)
        {
            var text = new StringBuilder();
            for (int length = random.Next(1, 14); length > 0; length--)
            {
                switch (random.Next(12))
                {
                    case 0:
                        // Neighbours of one random character: a word of one script.
                        int at = random.Next(s_assigned.Length);
                        for (int letters = random.Next(1, 6); letters > 0; letters--)
                        {
                            text.Append(new Rune(s_assigned[Math.Clamp(at + random.Next(-20, 20), 0, s_assigned.Length - 1)]));
                        }

                        break;
                    case 1:
                        text.Append(new Rune(s_assigned[random.Next(s_assigned.Length)]));
                        break;
                    case 2:
                        text.Append(' ', random.Next(1, 9));
                        break;
                    case 3:
                        text.Append((char)random.Next(0x20, 0x180));
                        break;
                    case 4:
                        var rune = new Rune(random.Next(0x110000 - 0x800) is var point && point >= 0xD800 ? point + 0x800 : point);
                        text.Append(rune);
                        break;
                    default:
                        text.Append(tricky[random.Next(tricky.Length)]);
                        break;
                }
            }

            yield return text.ToString();
        }
    }
}
