using System.Text;

namespace DispLlm;

/// <summary>A corpus of one text in memory.</summary>
internal sealed class InlineTextCorpus(string text) : TokenCorpus
{
    public override string Description => $"a text of {text.Length} characters";

    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken) =>
        text.Length == 0 ? [] : [.. RequireTokenizer(context).Encode(text)];
}

/// <summary>A corpus of token ids in memory.</summary>
internal sealed class ReadyTokensCorpus(int[] tokens) : TokenCorpus
{
    public override string Description => $"{tokens.Length} ready tokens";

    // A copy, since the caller may change what it gets.
    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken) => [.. tokens];
}

/// <summary>A corpus of text files.</summary>
internal sealed class TextFilesCorpus(string[] paths) : TokenCorpus
{
    // Throws on bytes that are no UTF-8: replaced silently, they would calibrate on replacement characters.
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public override string Description => paths.Length == 1 ? $"'{paths[0]}'" : $"'{paths[0]}' and {paths.Length - 1} more";

    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken)
    {
        var tokenizer = RequireTokenizer(context);
        var tokens = new List<int>();
        foreach (string path in paths)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string text = Read(path);
            if (text.Length == 0)
            {
                throw new CorpusException($"The corpus file '{path}' is empty.");
            }

            tokens.AddRange(tokenizer.Encode(text));
        }

        return [.. tokens];
    }

    /// <summary>A file's text, with line ends read as <c>\n</c>.</summary>
    internal static string Read(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            string reason = e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file" : e.Message;
            throw new CorpusException($"The corpus file '{path}' cannot be read: {reason}.", e);
        }

        // A byte order mark is no part of the text.
        var content = bytes.AsSpan();
        if (content.StartsWith(Encoding.UTF8.Preamble))
        {
            content = content[Encoding.UTF8.Preamble.Length..];
        }

        try
        {
            // Published figures come from text whose line ends were read as \n; the same text saved on another system is the same text.
            return Strict.GetString(content).Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        }
        catch (DecoderFallbackException e)
        {
            int at = e.Index + bytes.Length - content.Length;
            throw new CorpusException(
                $"The corpus file '{path}' is not UTF-8 text: byte {at} begins no valid character. Convert it first.", e);
        }
        catch (ArgumentException e)
        {
            throw new CorpusException(
                $"The corpus file '{path}' is too large to be read at once. Split it and use {nameof(FromTextFiles)}.", e);
        }
    }
}

/// <summary>A corpus of one WikiText file, joined as published code joins the rows of the Hugging Face dataset.</summary>
internal sealed class WikiTextCorpus(string path) : TokenCorpus
{
    public override string Description => $"'{path}', joined";

    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken)
    {
        var tokenizer = RequireTokenizer(context);
        string[] lines = TextFilesCorpus.Read(path).Split('\n');

        // The dataset has a row for each line, with its line end, and an empty one where the line is blank. After the last line end there
        // is no line.
        int count = lines[^1].Length == 0 ? lines.Length - 1 : lines.Length;
        string joined = string.Join("\n\n",
            lines.Take(count).Select((line, i) =>
            string.IsNullOrWhiteSpace(line) ? string.Empty : i < lines.Length - 1 ? line + '\n' : line));
        return [.. tokenizer.Encode(joined)];
    }
}
