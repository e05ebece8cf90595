using System.Text;

namespace DispLlm;

/// <summary>A corpus of texts, each tokenized by itself.</summary>
internal abstract class TextCorpus : TokenCorpus
{
    /// <summary>The texts, in their order, read as they are asked for.</summary>
    /// <exception cref="CorpusException">A file is missing, empty or no UTF-8.</exception>
    public abstract IEnumerable<string> Read(CancellationToken cancellationToken);

    internal sealed override void EnsureReadable(CancellationToken cancellationToken = default)
    {
        foreach (string _ in Read(cancellationToken))
        {
            // To have read it is enough.
        }
    }

    protected sealed override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken)
    {
        var tokenizer = RequireTokenizer(context);
        return [.. Read(cancellationToken).SelectMany(text => tokenizer.Encode(text))];
    }
}

/// <summary>A corpus of one text in memory.</summary>
internal sealed class InlineTextCorpus(string text) : TextCorpus
{
    public override string Description => $"a text of {text.Length} characters";

    public override IEnumerable<string> Read(CancellationToken cancellationToken) => [text];
}

/// <summary>A corpus of token ids in memory.</summary>
internal sealed class ReadyTokensCorpus(int[] tokens) : TokenCorpus
{
    public override string Description => $"{tokens.Length} ready tokens";

    // A copy, since the caller may change what it gets.
    protected override int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken) => [.. tokens];
}

/// <summary>A corpus of text files.</summary>
internal sealed class TextFilesCorpus(string[] paths) : TextCorpus
{
    // Throws on bytes that are no UTF-8: replaced silently, they would calibrate on replacement characters.
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public override string Description => paths.Length == 1 ? $"'{paths[0]}'" : $"'{paths[0]}' and {paths.Length - 1} more";

    public override IEnumerable<string> Read(CancellationToken cancellationToken)
    {
        foreach (string path in paths)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string text = Read(path);
            yield return text.Length > 0 ? text : throw new CorpusException($"The corpus file '{path}' is empty.");
        }
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

        if (GitLfsPointer.IsPointer(bytes))
        {
            throw new CorpusException($"The corpus file '{path}' cannot be read: {GitLfsPointer.Remedy("text")}");
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
internal sealed class WikiTextCorpus(string path) : TextCorpus
{
    public override string Description => $"'{path}', joined";

    public override IEnumerable<string> Read(CancellationToken cancellationToken)
    {
        string[] lines = TextFilesCorpus.Read(path).Split('\n');

        // The dataset has a row for each line, with its line end, and an empty one where the line is blank. After the last line end there
        // is no line.
        int count = lines[^1].Length == 0 ? lines.Length - 1 : lines.Length;
        yield return string.Join("\n\n",
            lines.Take(count).Select((line, i) =>
            string.IsNullOrWhiteSpace(line) ? string.Empty : i < lines.Length - 1 ? line + '\n' : line));
    }
}
