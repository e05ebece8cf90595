using System.Text;

namespace DispLlm;

/// <summary>
/// How byte-level vocabularies write bytes: each as one printable character, itself where it is printable, or one from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] s_characters = Build();
    private static readonly Dictionary<char, byte> s_bytes = Enumerable.Range(0, 256).ToDictionary(b => s_characters[b], b => (byte)b);

    /// <summary>The character of every byte.</summary>
    public static ReadOnlySpan<char> Characters => s_characters;

    /// <summary>Writes the UTF-8 bytes of a text.</summary>
    public static string Write(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        return string.Create(bytes.Length, bytes, static (characters, bytes) =>
        {
            for (int i = 0; i < bytes.Length; i++)
            {
                characters[i] = s_characters[bytes[i]];
            }
        });
    }

    /// <summary>The bytes of a token; a token with a character that stands for no byte is its own text.</summary>
    public static byte[] Read(string token)
    {
        var bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (!s_bytes.TryGetValue(token[i], out bytes[i]))
            {
                return Encoding.UTF8.GetBytes(token);
            }
        }

        return bytes;
    }

    private static char[] Build()
    {
        var alphabet = new char[256];
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            bool isPrintable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            alphabet[b] = isPrintable ? (char)b : (char)next++;
        }

        return alphabet;
    }
}
