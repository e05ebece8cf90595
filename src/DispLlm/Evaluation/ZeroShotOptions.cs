namespace DispLlm.Evaluation;

/// <summary>How zero-shot tasks are scored. Everything but <see cref="MaxItems"/> and <see cref="AddBosToken"/> changes time and memory, not the result.</summary>
public sealed record ZeroShotOptions
{
    /// <summary>Items whose continuations are computed in one forward pass. Default 8; a GPU takes more.</summary>
    public int BatchSize { get; init; } = 8;

    /// <summary>How many items from the start of the task. Default: all of them.</summary>
    public int? MaxItems { get; init; }

    /// <summary>
    /// Whether the tokenizer's begin-of-text token stands in front of every context. Default: no, as the harness does without <c>add_bos_token</c> and as most published figures of LLaMA
    /// models are measured.
    /// </summary>
    public bool AddBosToken { get; init; }

    /// <summary>
    /// A file that keeps the scores of what is done, a JSON object a line. An evaluation that was interrupted goes on behind them and ends with the same numbers; a file of another model,
    /// task or text is refused. Default: none.
    /// </summary>
    public string? ResultsFile { get; init; }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(BatchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(MaxItems ?? 1, 1, nameof(MaxItems));
    }
}
