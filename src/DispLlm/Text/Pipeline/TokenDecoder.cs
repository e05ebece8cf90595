using System.Globalization;
using System.Text;

namespace DispLlm;

/// <summary>Turns tokens back into text, as the "decoder" of tokenizer.json describes it. Immutable and thread-safe.</summary>
internal sealed class TokenDecoder
{
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly List<Func<IReadOnlyList<string>, IReadOnlyList<string>>> _steps = [];
    private readonly string _separator;

    private TokenDecoder(string separator) => _separator = separator;

    /// <summary>The decoder of byte-level vocabularies.</summary>
    public static TokenDecoder ByteLevel { get; } = CreateByteLevel();

    /// <summary>Reads a decoder; without one, there is a space between two tokens.</summary>
    public static TokenDecoder Read(TokenizerPart? description)
    {
        var decoder = new TokenDecoder(description is null ? " " : "");
        if (description is { } part)
        {
            decoder.Add(part);
        }

        return decoder;
    }

    public string Decode(IReadOnlyList<string> tokens)
    {
        foreach (var step in _steps)
        {
            tokens = step(tokens);
        }

        return string.Join(_separator, tokens);
    }

    private static TokenDecoder CreateByteLevel()
    {
        var decoder = new TokenDecoder("");
        decoder._steps.Add(JoinBytes);
        return decoder;
    }

    private void Add(TokenizerPart part)
    {
        switch (part.Type)
        {
            case "Sequence":
                foreach (var inner in part.Parts("decoders"))
                {
                    Add(inner);
                }

                break;
            case "ByteLevel":
                _steps.Add(JoinBytes);
                break;
            case "ByteFallback":
                _steps.Add(JoinByteTokens);
                break;
            case "Fuse":
                _steps.Add(tokens => [string.Concat(tokens)]);
                break;
            case "Replace":
                var pattern = part.Pattern();
                string content = part.Text("content");
                _steps.Add(tokens => [.. tokens.Select(token => Replace(token, pattern, content))]);
                break;
            case "Strip":
                string stripped = part.Character("content");
                int start = part.Integer("start");
                int stop = part.Integer("stop");
                _steps.Add(tokens => [.. tokens.Select(token => Strip(token, stripped, start, stop))]);
                break;
            case "Metaspace":
                string replacement = part.Character("replacement");
                bool dropsFirst = Metaspace.ReadScheme(part) != MetaspaceScheme.Never;
                _steps.Add(tokens => [.. tokens.Select((token, index) =>
                    token.Replace(replacement, index == 0 && dropsFirst ? "" : " ", StringComparison.Ordinal))]);
                break;
            case "BPEDecoder":
                string suffix = part.Text("suffix");
                _steps.Add(tokens => [.. tokens.Select((token, index) =>
                    suffix.Length == 0 ? token : token.Replace(suffix, index == tokens.Count - 1 ? "" : " ", StringComparison.Ordinal))]);
                break;
            default:
                throw part.Unsupported("type");
        }
    }

    private static string[] JoinBytes(IReadOnlyList<string> tokens) =>
        [Encoding.UTF8.GetString([.. tokens.SelectMany(ByteAlphabet.Read)])];

    /// <summary>Joins neighbouring tokens like &lt;0x0A&gt;; where they are no UTF-8 together, each is U+FFFD.</summary>
    private static List<string> JoinByteTokens(IReadOnlyList<string> tokens)
    {
        var joined = new List<string>();
        var bytes = new List<byte>();
        foreach (string token in tokens)
        {
            if (ParseByte(token) is { } value)
            {
                bytes.Add(value);
                continue;
            }

            Flush();
            joined.Add(token);
        }

        Flush();
        return joined;

        void Flush()
        {
            if (bytes.Count > 0)
            {
                try
                {
                    joined.Add(s_strict.GetString([.. bytes]));
                }
                catch (DecoderFallbackException)
                {
                    joined.AddRange(Enumerable.Repeat("\uFFFD", bytes.Count));
                }

                bytes.Clear();
            }
        }
    }

    private static byte? ParseByte(string token) =>
        token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
        && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? value
            : null;

    private static string Replace(string token, CodePointExpression pattern, string content)
    {
        if (token.Length == 0)
        {
            return token;
        }

        var result = new StringBuilder(token.Length);
        int done = 0;
        foreach (var (start, end) in pattern.Match(token))
        {
            result.Append(token, done, start - done).Append(content);
            done = end;
        }

        return result.Append(token, done, token.Length - done).ToString();
    }

    private static string Strip(string token, string content, int start, int stop)
    {
        for (int i = 0; i < start && token.StartsWith(content, StringComparison.Ordinal); i++)
        {
            token = token[content.Length..];
        }

        for (int i = 0; i < stop && token.EndsWith(content, StringComparison.Ordinal); i++)
        {
            token = token[..^content.Length];
        }

        return token;
    }
}
