namespace DispLlm.Evaluation;

/// <summary>The accuracy of a model on one zero-shot task, scored by log-likelihood. Immutable and thread-safe.</summary>
/// <param name="Task">The task's name, for instance <c>arc_easy</c>.</param>
/// <param name="Items">Number of items.</param>
/// <param name="Accuracy">
/// Fraction of items whose most likely continuation is the right one, 0 to 1 (<c>acc</c> of lm-evaluation-harness).
/// </param>
/// <param name="AccuracyError">The standard error of <paramref name="Accuracy"/>.</param>
/// <param name="NormalizedAccuracy">
/// The same with log-likelihoods divided by the length of the continuation (<c>acc_norm</c>); null for a task without it.
/// </param>
/// <param name="NormalizedAccuracyError">The standard error of <paramref name="NormalizedAccuracy"/>; null for a task without it.</param>
public sealed record ZeroShotScore(
    string Task, int Items, double Accuracy, double AccuracyError, double? NormalizedAccuracy, double? NormalizedAccuracyError)
{
    /// <summary>
    /// The accuracy of guessing: the mean of 1 over the number of choices. Null in a report that was written before it was recorded.
    /// </summary>
    public double? Chance { get; init; }

    /// <summary>The accuracies of a model from its scores for the first items of a task.</summary>
    internal static ZeroShotScore FromScores(ZeroShotTask task, IReadOnlyList<IReadOnlyList<ContinuationScore>> scores)
    {
        bool[] right = [.. scores.Select((item, i) => ArgMax(item.Select(score => score.LogLikelihood)) == task.Items[i].Gold)];
        bool[] rightNormalized = task.IsNormalized
            ? [.. scores.Select((item, i) => ArgMaxNormalized(item, task.Items[i]) == task.Items[i].Gold)]
            : [];
        return new ZeroShotScore(
            task.Name,
            scores.Count,
            Mean(right),
            StandardError(right),
            task.IsNormalized ? Mean(rightNormalized) : null,
            task.IsNormalized ? StandardError(rightNormalized) : null)
        {
            Chance = scores.Average(item => 1.0 / item.Count),
        };
    }

    /// <summary>The first index of the maximum.</summary>
    private static int ArgMax(IEnumerable<double> values)
    {
        var list = values.ToList();
        return list.IndexOf(list.Max());
    }

    private static int ArgMaxNormalized(IReadOnlyList<ContinuationScore> scores, ZeroShotItem item) =>
        ArgMax(scores.Select((score, i) => score.LogLikelihood / item.Choices[i].Length));

    private static double Mean(bool[] right) => (double)right.Count(value => value) / right.Length;

    /// <summary>The standard error of the mean, <c>sqrt(p (1 - p) / (n - 1))</c>; NaN for a single item.</summary>
    private static double StandardError(bool[] right)
    {
        double mean = Mean(right);
        return right.Length < 2 ? double.NaN : Math.Sqrt(mean * (1 - mean) / (right.Length - 1));
    }
}
