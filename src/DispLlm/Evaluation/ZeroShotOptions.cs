namespace DispLlm.Evaluation;

/// <summary>
/// Options of <see cref="ZeroShot"/>. Only <see cref="MaxItems"/> and <see cref="AddBosToken"/> change the result. Immutable and
/// thread-safe.
/// </summary>
public sealed record ZeroShotOptions
{
    /// <summary>Items per forward pass. Default 8, at least 1; a GPU can take more.</summary>
    public int BatchSize { get; init; } = 8;

    /// <summary>Number of items from the start of the task, at least 1. Default: all.</summary>
    public int? MaxItems { get; init; }

    /// <summary>
    /// Whether every context begins with the tokenizer's begin-of-text token. Default: null, where the tokenizer adds one (<see
    /// cref="TextTokenizer.AddBosToken"/>), as lm-evaluation-harness since 0.4.10. False gives the figures of earlier versions, and most
    /// published results of LLaMA models.
    /// </summary>
    public bool? AddBosToken { get; init; }

    /// <summary>
    /// A JSON Lines file for the scores of each item, and the accuracies after the last. An interrupted evaluation with the same file
    /// resumes, and gives the same results. A file of another model, task or text is refused. Default: none.
    /// </summary>
    public string? ResultsFile { get; init; }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxItems ?? 1, 1, nameof(MaxItems));
    }
}
