using System.Text;

namespace DispLlm;

/// <summary>Rewrites text before it is split, as the "normalizer" of tokenizer.json describes it. Immutable and thread-safe.</summary>
internal sealed class TextNormalizer
{
    // Control characters that go, and characters that become spaces.
    private static readonly CodePointSet s_nmtRemoved = CodePointSet.Parse("1-8 B E-1F 7F 8F 9F");
    private static readonly CodePointSet s_nmtSpaces = CodePointSet.Parse("9-A C-D 1680 200B-200F 2028-2029 2581 FEFF FFFD");

    private readonly List<Func<TextPiece, TextPiece>> _steps = [];

    private TextNormalizer()
    {
    }

    /// <summary>Reads a normalizer; without one, text stays as it is.</summary>
    public static TextNormalizer Read(TokenizerPart? description)
    {
        var normalizer = new TextNormalizer();
        if (description is { } part)
        {
            normalizer.Add(part);
        }

        return normalizer;
    }

    public TextPiece Apply(TextPiece piece)
    {
        foreach (var step in _steps)
        {
            piece = step(piece);
        }

        return piece;
    }

    private void Add(TokenizerPart part)
    {
        switch (part.Type)
        {
            case "Sequence":
                foreach (var inner in part.Parts("normalizers"))
                {
                    Add(inner);
                }

                break;
            case "NFC" or "NFD" or "NFKC" or "NFKD":
                bool compose = part.Type.EndsWith('C');
                bool compatibility = part.Type.Length == 4;
                AddText(text => UnicodeNormalization.Normalize(text, compose, compatibility));
                break;
            case "Lowercase":
                AddText(Lowercase);
                break;
            case "Prepend":
                string prefix = part.Text("prepend");
                _steps.Add(piece => piece.Text.Length == 0 ? piece : Prepend(piece, prefix));
                break;
            case "Replace":
                var pattern = part.Pattern();
                string content = part.Text("content");
                _steps.Add(piece => Replace(piece, pattern, content));
                break;
            case "Strip":
                bool left = part.Boolean("strip_left", true);
                bool right = part.Boolean("strip_right", true);
                _steps.Add(piece => Strip(piece, left, right));
                break;
            case "StripAccents":
                var marks = UnicodeTables.Property("Mark (Unicode 9)")!;
                AddText(text => Rewrite(text, rune => marks.Contains(rune.Value) ? null : rune));
                break;
            case "Nmt":
                AddText(text => Rewrite(text, rune => s_nmtRemoved.Contains(rune.Value) ? null
                    : s_nmtSpaces.Contains(rune.Value) ? new Rune(' ') : rune));
                break;
            case "ByteLevel":
                AddText(ByteAlphabet.Write);
                break;
            default:
                throw part.Unsupported("type");
        }
    }

    private void AddText(Func<string, string> rewrite) => _steps.Add(piece => piece.Map(rewrite));

    /// <summary>Puts a prefix before a piece; it stands where the piece begins.</summary>
    public static TextPiece Prepend(TextPiece piece, string prefix) =>
        new(prefix + piece.Text, piece.Lead == 0 ? 0 : prefix.Length + piece.Lead);

    private static TextPiece Strip(TextPiece piece, bool left, bool right)
    {
        int start = left ? piece.Text.Length - piece.Text.AsSpan().TrimStart().Length : 0;
        int end = right ? piece.Text.AsSpan().TrimEnd().Length : piece.Text.Length;
        return piece.Slice(start, Math.Max(start, end));
    }

    private static TextPiece Replace(TextPiece piece, CodePointExpression pattern, string content)
    {
        var (text, lead) = piece;
        if (text.Length == 0)
        {
            return piece;
        }

        var result = new StringBuilder(text.Length);
        int done = 0;
        int newLead = 0;
        foreach (var (start, end) in pattern.Match(text))
        {
            // What replaces several characters stands where the last of them stood.
            newLead += Math.Clamp(lead - done, 0, start - done) + (end <= lead ? content.Length : 0);
            result.Append(text, done, start - done).Append(content);
            done = end;
        }

        newLead += Math.Max(0, lead - done);
        return new TextPiece(result.Append(text, done, text.Length - done).ToString(), newLead);
    }

    private static string Rewrite(string text, Func<Rune, Rune?> rewrite)
    {
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (rewrite(rune) is { } kept)
            {
                result.Append(kept);
            }
        }

        return result.ToString();
    }

    /// <summary>Unicode 17's lower case, character by character: .NET knows Unicode 16 and no mapping to two characters.</summary>
    private static string Lowercase(string text)
    {
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            _ = rune.Value switch
            {
                0x130 => result.Append("i\u0307"),
                0xA7CE or 0xA7D2 or 0xA7D4 => result.Append(new Rune(rune.Value + 1)),
                >= 0x16EA0 and <= 0x16EB8 => result.Append(new Rune(rune.Value + 0x1B)),
                _ => result.Append(Rune.ToLowerInvariant(rune)),
            };
        }

        return result.ToString();
    }
}
