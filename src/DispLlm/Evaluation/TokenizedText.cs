using System.Text;

namespace DispLlm.Evaluation;

/// <summary>The tokens of a corpus as one model reads it, and how many bytes of text they stand for. Immutable.</summary>
/// <param name="Tokens">The ids.</param>
internal sealed record TokenizedText(IReadOnlyList<int> Tokens)
{
    /// <summary>Tokens before a range that are decoded with it: no character is shared by more.</summary>
    private const int Overlap = 8;

    private readonly TextTokenizer? _tokenizer;
    private readonly IReadOnlyList<Part> _parts = [];

    private TokenizedText(IReadOnlyList<int> tokens, TextTokenizer tokenizer, IReadOnlyList<Part> parts)
        : this(tokens)
    {
        _tokenizer = tokenizer;
        _parts = parts;
    }

    /// <summary>Reads a corpus.</summary>
    /// <param name="corpus">The corpus.</param>
    /// <param name="context">The model and the tokenizer that reads.</param>
    /// <param name="cancellationToken">Stops between texts.</param>
    /// <exception cref="CorpusException">The corpus cannot be read, is empty, or has an id that the model does not know.</exception>
    public static TokenizedText Read(TokenCorpus corpus, CorpusContext context, CancellationToken cancellationToken)
    {
        if (context.Tokenizer is not { } tokenizer)
        {
            return new TokenizedText(corpus.Tokenize(context, cancellationToken));
        }

        if (corpus is not TextCorpus texts)
        {
            // Ready tokens are the text that they decode to.
            int[] ready = corpus.Tokenize(context, cancellationToken);
            return new TokenizedText(ready, tokenizer, [new Part(0, ready.Length, null)]);
        }

        var tokens = new List<int>();
        var parts = new List<Part>();
        foreach (string text in texts.Read(cancellationToken))
        {
            int start = tokens.Count;
            tokens.AddRange(tokenizer.Encode(text));
            parts.Add(new Part(start, tokens.Count, Encoding.UTF8.GetByteCount(text)));
        }

        return new TokenizedText(corpus.Check([.. tokens], context), tokenizer, parts);
    }

    /// <summary>
    /// Bytes of UTF-8 that ranges of tokens stand for; null where there is no tokenizer to tell. A character that several tokens share
    /// counts for the last of them. Where a tokenizer changes a text (a normalizer, an unknown character), its tokens are stretched to the
    /// bytes that the text has.
    /// </summary>
    /// <param name="ranges">First and end of each range, ascending, without overlaps.</param>
    public long? CountBytes(IEnumerable<(int First, int End)> ranges)
    {
        var list = ranges.ToList();
        return _tokenizer is null ? null : _parts.Sum(part => CountBytes(part, list));
    }

    private long CountBytes(Part part, List<(int First, int End)> ranges)
    {
        long decoded = 0, scored = 0;
        var counted = new List<(long First, long End)>();
        int at = part.First;
        foreach (var (first, end) in ranges.Select(range => (Math.Max(range.First, part.First), Math.Min(range.End, part.End))))
        {
            if (first < end)
            {
                decoded += CountDecodedBytes(part, at, first);
                long before = decoded;
                decoded += CountDecodedBytes(part, first, end);
                counted.Add((before, decoded));
                at = end;
            }
        }

        decoded += CountDecodedBytes(part, at, part.End);
        long bytes = part.Bytes ?? decoded;
        foreach (var (first, end) in counted)
        {
            scored += Stretch(end) - Stretch(first);
        }

        return scored;

        long Stretch(long position) => decoded == bytes || decoded == 0 ? position : position * bytes / decoded;
    }

    /// <summary>Bytes of the text that tokens decode to, after those that are before them in their part.</summary>
    private long CountDecodedBytes(Part part, int first, int end)
    {
        int start = Math.Max(part.First, first - Overlap);
        return first == end ? 0 : CountWholeCharacters(start, end) - CountWholeCharacters(start, first);
    }

    /// <summary>Bytes of the text of tokens, without a character at its end whose last bytes are missing.</summary>
    private long CountWholeCharacters(int first, int end) =>
        Encoding.UTF8.GetByteCount(_tokenizer!.Decode(Tokens.Skip(first).Take(end - first)).TrimEnd('\uFFFD'));

    /// <summary>The tokens of one text.</summary>
    /// <param name="First">Index of the first.</param>
    /// <param name="End">Index after the last.</param>
    /// <param name="Bytes">Bytes of the text; null where it is what the tokens decode to.</param>
    private sealed record Part(int First, int End, long? Bytes);
}
