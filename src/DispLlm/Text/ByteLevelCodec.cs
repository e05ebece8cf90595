using System.Text;
using Microsoft.ML.Tokenizers;

namespace DispLlm;

/// <summary>
/// Byte-level BPE, as GPT-2, OPT, Phi and LLaMA 3 use it. Microsoft.ML.Tokenizers merges. Added tokens, pre-tokenization and decoding are
/// here, since it splits text otherwise than tokenizer.json asks and fails on ids that end inside a character. Thread-safe.
/// </summary>
internal sealed class ByteLevelCodec : ITokenCodec
{
    // The vocabulary writes every byte as a printable character: itself where it is printable, or one from U+0100 on.
    private static readonly char[] ByteToChar = BuildAlphabet();
    private static readonly Dictionary<char, byte> CharToByte =
        Enumerable.Range(0, 256).ToDictionary(b => ByteToChar[b], b => (byte)b);

    private readonly ByteLevelDefinition _definition;
    private readonly BpeTokenizer _merger;
    private readonly AddedTokenSplitter _added;
    private readonly Dictionary<string, int> _ids;
    private readonly byte[]?[] _bytes;

    public ByteLevelCodec(ByteLevelDefinition definition)
    {
        _definition = definition;
        _added = new AddedTokenSplitter(definition.AddedTokens);
        _ids = new Dictionary<string, int>(definition.Vocabulary);
        var ids = definition.Vocabulary.Values.Concat(definition.AddedTokens.Select(t => t.Id));
        _bytes = new byte[]?[ids.DefaultIfEmpty(-1).Max() + 1];
        foreach (var (token, id) in definition.Vocabulary)
        {
            _bytes[id] = ToBytes(token);
        }

        foreach (var token in definition.AddedTokens)
        {
            _ids[token.Content] = token.Id;
            _bytes[token.Id] = Encoding.UTF8.GetBytes(token.Content);
        }

        // Some vocabularies lack a few bytes that hardly any text has (SmolLM2's lacks six control characters and some lead bytes). Without
        // an unknown token the original tokenizer drops those silently, and so does this one. A vocabulary that lacks most of them is of
        // another kind.
        int known = ByteToChar.Count(c => definition.Vocabulary.ContainsKey(c.ToString()));
        if (known < 192)
        {
            throw new TokenizerException(
                $"'{definition.Path}': only {known} of 256 bytes have a token, so this is no byte-level vocabulary.");
        }

        try
        {
            // Words are split before; the library's own pre-tokenizer is not used.
            _merger = BpeTokenizer.Create(new BpeOptions(definition.Vocabulary)
            {
                Merges = definition.Merges,
                ByteLevel = true,
                UnknownToken = definition.UnknownToken,
                FuseUnknownTokens = definition.FusesUnknown,
            });
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw new TokenizerException($"'{definition.Path}': vocabulary and merges do not fit together. {e.Message}", e);
        }
    }

    public IReadOnlyList<byte[]?> TokenBytes => _bytes;

    public bool AddsBeginOfTextByDefault => _definition.FirstToken is not null;

    public bool DropsFirstSpace => false;

    public int? BeginOfTextId => _definition.FirstToken is { } first ? FindId(first) : null;

    public int? EndOfTextId => null;

    public int? FindId(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    public void Encode(string text, List<int> ids)
    {
        foreach (var (part, id) in _added.Split(text))
        {
            if (part is null)
            {
                ids.Add(id);
                continue;
            }

            foreach (string word in _definition.PreTokenization.Words(part))
            {
                if (_definition.IgnoresMerges && _definition.Vocabulary.TryGetValue(Disguise(word), out int whole))
                {
                    ids.Add(whole);
                }
                else
                {
                    ids.AddRange(_merger.EncodeToIds(word, considerPreTokenization: false, considerNormalization: false));
                }
            }
        }
    }

    private static string Disguise(string word) => string.Concat(Encoding.UTF8.GetBytes(word).Select(b => ByteToChar[b]));

    /// <summary>The bytes of a token of the vocabulary; a token that is not byte-encoded is its own text.</summary>
    private static byte[] ToBytes(string token)
    {
        var bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (!CharToByte.TryGetValue(token[i], out bytes[i]))
            {
                return Encoding.UTF8.GetBytes(token);
            }
        }

        return bytes;
    }

    private static char[] BuildAlphabet()
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
