namespace DispLlm;

/// <summary>
/// Text or tokens to calibrate on or to evaluate with. A corpus is a description: nothing is read before
/// <see cref="Tokenize"/>, and the same corpus serves several models. Immutable and thread-safe.
/// </summary>
public abstract class TokenCorpus
{
    /// <summary>What the corpus is, for messages and reports: a file's name, a number of tokens.</summary>
    public abstract string Description { get; }

    /// <summary>A corpus of one text.</summary>
    /// <param name="text">The text.</param>
    public static TokenCorpus FromText(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return new InlineTextCorpus(text);
    }

    /// <summary>A corpus of one UTF-8 text file. Line ends are read as <c>\n</c>, whichever the file has.</summary>
    /// <param name="path">The file. It is read when the corpus is tokenized.</param>
    public static TokenCorpus FromTextFile(string path) => FromTextFiles([path]);

    /// <summary>A corpus of several UTF-8 text files, each tokenized by itself, in this order. Line ends are read as <c>\n</c>.</summary>
    /// <param name="paths">The files, at least one. They are read when the corpus is tokenized.</param>
    public static TokenCorpus FromTextFiles(IEnumerable<string> paths)
    {
        ArgumentNullException.ThrowIfNull(paths);
        string[] files = [.. paths];
        foreach (string file in files)
        {
            ArgumentException.ThrowIfNullOrWhiteSpace(file, nameof(paths));
        }

        return files.Length > 0 ? new TextFilesCorpus(files) : throw new CorpusException("A corpus of text files was given no file.");
    }

    /// <summary>
    /// A corpus of a WikiText file (<c>wiki.test.raw</c>) as published perplexities are measured on it: <c>"\n\n".join(rows)</c>, the rows
    /// being the lines of the file with their line ends, blank ones empty, as the Hugging Face dataset has them. This gives more line ends
    /// than the file has, and other figures.
    /// </summary>
    /// <param name="path">The file. It is read when the corpus is tokenized.</param>
    public static TokenCorpus FromWikiTextFile(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return new WikiTextCorpus(path);
    }

    /// <summary>A corpus of ready token ids.</summary>
    /// <param name="tokens">The ids, copied.</param>
    public static TokenCorpus FromTokens(IReadOnlyList<int> tokens)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        return new ReadyTokensCorpus([.. tokens]);
    }

    /// <summary>A corpus that the model generates: calibration where there is no data.</summary>
    /// <param name="options">How it is generated; null for defaults.</param>
    public static TokenCorpus GeneratedByModel(GeneratedCorpusOptions? options = null) =>
        new GeneratedCorpus(options ?? new GeneratedCorpusOptions());

    /// <summary>
    /// The corpus as token ids, checked: not empty, and every id known to the model. No special tokens are added: a corpus is one
    /// sequence of tokens.
    /// </summary>
    /// <param name="context">The tokenizer and what else there is.</param>
    /// <param name="cancellationToken">Stops between files.</param>
    /// <exception cref="CorpusException">A file is missing or is no UTF-8, the corpus is empty, or an id is out of range.</exception>
    public int[] Tokenize(CorpusContext context, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(context);
        cancellationToken.ThrowIfCancellationRequested();
        return Check(TokenizeCore(context, cancellationToken), context);
    }

    /// <summary>Checks tokens of this corpus: there are some, and the model knows every id.</summary>
    internal int[] Check(int[] tokens, CorpusContext context)
    {
        if (tokens.Length == 0)
        {
            throw new CorpusException($"The corpus ({Description}) is empty: it has no token to learn or measure from.");
        }

        int limit = context.VocabularySize ?? context.Tokenizer?.VocabularySize ?? int.MaxValue;
        for (int i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)limit)
            {
                throw new CorpusException(
                    $"The corpus ({Description}) has token id {tokens[i]} at position {i}, but the model's ids are 0 to {limit - 1}. " +
                    "Was it tokenized for another model?");
            }
        }

        return tokens;
    }

    /// <summary>Reads the files of the corpus, if it has any, so that a missing one is found before hours of work.</summary>
    /// <exception cref="CorpusException">A file is missing, empty or no UTF-8.</exception>
    internal virtual void EnsureReadable(CancellationToken cancellationToken = default)
    {
    }

    /// <summary>The corpus as token ids. <see cref="Tokenize"/> checks them afterwards.</summary>
    /// <param name="context">The tokenizer and what else there is.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    protected abstract int[] TokenizeCore(CorpusContext context, CancellationToken cancellationToken);

    /// <summary>The context's tokenizer, or an error that says who needs it.</summary>
    /// <param name="context">The context.</param>
    /// <exception cref="CorpusException">The context has none.</exception>
    protected TextTokenizer RequireTokenizer(CorpusContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return context.Tokenizer ?? throw new CorpusException(
            $"The corpus ({Description}) is text, and the model has no tokenizer. Put the model's tokenizer files into its folder, " +
            "or give the corpus as token ids.");
    }
}
