namespace DispLlm.Evaluation;

/// <summary>
/// Zero-shot tasks by log-likelihood, scored as EleutherAI's lm-evaluation-harness scores them: its prompts, its tokenisation of context and continuation, its <c>acc</c> and
/// <c>acc_norm</c>. Logarithms of probabilities are computed in float32, whatever the model's own type.
/// </summary>
public static class ZeroShot
{
    /// <summary>Scores a model on a task.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="task">The task.</param>
    /// <param name="options">How; null for defaults.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between forward passes. What was done stays in the results file.</param>
    /// <exception cref="EvaluationException">
    /// A continuation that cannot be scored, a results file of another evaluation or one that cannot be written: found before anything is computed.
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
        bool[] right = [.. scores.Select((item, i) => Best(item.Select(score => score.LogLikelihood)) == task.Items[i].Gold)];
        bool[] rightNormalized = task.IsNormalized
            ? [.. scores.Select((item, i) => Best(item.Select((score, j) => score.LogLikelihood / task.Items[i].Choices[j].Length)) == task.Items[i].Gold)]
            : [];
        return new ZeroShotScore(
            task.Name,
            scores.Count,
            Mean(right),
            Error(right),
            task.IsNormalized ? Mean(rightNormalized) : null,
            task.IsNormalized ? Error(rightNormalized) : null);
    }

    /// <summary>The scores of every continuation of a task: what <see cref="Evaluate"/> judges by.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="task">The task.</param>
    /// <param name="options">How; null for defaults.</param>
    /// <param name="progress">Told the fraction that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between forward passes. What was done stays in the results file.</param>
    /// <returns>For each item in order, a score for each of its choices in order.</returns>
    /// <exception cref="EvaluationException">
    /// A continuation that cannot be scored, a results file of another evaluation or one that cannot be written: found before anything is computed.
    /// </exception>
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
        using var file = options.ResultsFile is { } path ? ZeroShotResults.Open(path, ZeroShotResults.DescribeIdentity(model, task, items), task.Items, scores) : null;

        // The longest first: where memory does not suffice, that shows at once. The order and with it every batch follows from the items alone, so that a run that goes on computes the same.
        int[][] batches = [.. Enumerable.Range(0, items.Count).OrderByDescending(item => items[item].Max(choice => choice.Context.Length + choice.Continuation.Length)).Chunk(options.BatchSize)];
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

        return scores!;
    }

    /// <summary>The first of the largest.</summary>
    private static int Best(IEnumerable<double> values)
    {
        var list = values.ToList();
        return list.IndexOf(list.Max());
    }

    private static double Mean(bool[] right) => (double)right.Count(value => value) / right.Length;

    /// <summary>The sample's standard deviation by the square root of its size; nothing can be said from one item.</summary>
    private static double Error(bool[] right)
    {
        double mean = Mean(right);
        return right.Length < 2 ? double.NaN : Math.Sqrt(right.Sum(value => Math.Pow((value ? 1 : 0) - mean, 2)) / (right.Length - 1) / right.Length);
    }
}
