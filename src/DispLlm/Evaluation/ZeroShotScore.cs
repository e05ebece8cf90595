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
    string Task, int Items, double Accuracy, double AccuracyError, double? NormalizedAccuracy, double? NormalizedAccuracyError);
