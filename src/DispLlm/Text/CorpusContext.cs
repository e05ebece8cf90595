using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm.Training;

/// <summary>What a corpus can use to become tokens. An immutable value; derive from it where a corpus of your own needs more.</summary>
/// <param name="Tokenizer">The model's tokenizer; <see langword="null"/> where its folder has none. A corpus of text needs it.</param>
/// <param name="Model">The model, for a corpus that it generates; <see langword="null"/> where there is none.</param>
public record CorpusContext(TextTokenizer? Tokenizer, IPrunableModel? Model = null)
{
    private static readonly string[] s_tokenizerFiles = ["tokenizer.model", "tokenizer.json", "vocab.json"];

    /// <summary>
    /// How many ids the model knows: rows of its embedding. <see langword="null"/> stands for the tokenizer's own number.
    /// </summary>
    public int? VocabularySize { get; init; }

    /// <summary>The file in which text that is generated is kept, batch by batch; null for none.</summary>
    internal string? SampleFile { get; init; }

    /// <summary>Where the completed fraction of a generation is reported to, 0 to 1.</summary>
    internal IProgress<double>? Progress { get; init; }

    /// <summary>Where it is logged that the file cannot be written.</summary>
    internal ILogger Logger { get; init; } = NullLogger.Instance;

    /// <summary>The context of a model and of the tokenizer in its folder, if there is one.</summary>
    /// <param name="model">The model.</param>
    /// <exception cref="TokenizerException">There is a tokenizer of a kind that is not supported.</exception>
    public static CorpusContext For(IPrunableModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        bool hasTokenizer = model.Folder.Length > 0 && s_tokenizerFiles.Any(file => File.Exists(Path.Combine(model.Folder, file)));
        return new CorpusContext(hasTokenizer ? TextTokenizer.FromFolder(model.Folder) : null, model)
        {
            VocabularySize = model.Spec.VocabularySize,
        };
    }
}
