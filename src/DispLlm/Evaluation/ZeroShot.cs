namespace DispLlm.Evaluation;

/// <summary>
/// Zero-shot tasks, scored by log-likelihood as EleutherAI's lm-evaluation-harness does: its prompts, its tokenization of context and
/// continuation, its <c>acc</c> and <c>acc_norm</c>. Log-probabilities are computed in float32. Thread-safe, as long as the model is not
/// disposed meanwhile.
/// </summary>
public static class ZeroShot
{
    /// <summary>Evaluates a model on a task.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="task">The task.</param>
    /// <param name="options">Options; null for the defaults.</param>
    /// <param name="progress">Receives the completed fraction, 0 to 1.</param>
    /// <param name="cancellationToken">Cancels between forward passes. The results file keeps what was computed.</param>
    /// <exception cref="EvaluationException">
    /// A continuation that cannot be scored, or a results file that belongs to another evaluation or cannot be written. Thrown before
    /// anything is computed.
    /// </exception>
    public static ZeroShotScore Evaluate(
        IPrunableModel model,
        TextTokenizer tokenizer,
        ZeroShotTask task,
        ZeroShotOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        var scores = Score(model, tokenizer, task, options, progress, cancellationToken);
        return ZeroShotScore.FromScores(task, scores);
    }

    /// <summary>Computes the scores of every continuation of a task, from which <see cref="Evaluate"/> computes accuracies.</summary>
    /// <inheritdoc cref="Evaluate" path="/param|/exception"/>
    /// <returns>For each item, a score for each of its choices.</returns>
    public static IReadOnlyList<IReadOnlyList<ContinuationScore>> Score(
        IPrunableModel model,
        TextTokenizer tokenizer,
        ZeroShotTask task,
        ZeroShotOptions? options = null,
        IProgress<double>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(task);
        options ??= new ZeroShotOptions();
        options.Validate();
        var encoding = new ContinuationEncoding(tokenizer, model.Spec.MaxPositions, options.AddBosToken);
        var items = new List<EncodedContinuation[]>();
        foreach (var item in task.Items.Take(options.MaxItems ?? int.MaxValue))
        {
            cancellationToken.ThrowIfCancellationRequested();
            items.Add([.. item.Choices.Select(encoding.Encode)]);
        }

        var scores = new IReadOnlyList<ContinuationScore>?[items.Count];
        using var file = options.ResultsFile is { } path
            ? ZeroShotResultsFile.Open(path, ZeroShotResultsFile.DescribeIdentity(model, task, items), task.Items, scores)
            : null;

        // The longest first: too little memory shows at once. Batches depend on the items alone, so that a resumed evaluation computes the
        // same.
        int[][] batches =
        [
            .. Enumerable.Range(0, items.Count)
                .OrderByDescending(item => items[item].Max(choice => choice.Context.Length + choice.Continuation.Length))
                .Chunk(options.BatchSize),
        ];
        int done = 0;
        foreach (int[] batch in batches)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int[] missing = [.. batch.Where(item => scores[item] is null)];
            if (missing.Length > 0)
            {
                var computed = new Queue<ContinuationScore>(new ContinuationBatch([.. batch.SelectMany(item => items[item])]).Score(model));
                foreach (int item in batch)
                {
                    scores[item] = [.. items[item].Select(_ => computed.Dequeue())];
                }

                file?.Append(missing.Select(item => (item, scores[item]!)));
            }

            progress?.Report((double)(done += batch.Length) / items.Count);
        }

        file?.Complete(ZeroShotScore.FromScores(task, scores!));
        return scores!;
    }
}
