namespace DispLlm.Evaluation;

/// <summary>How a model did on one zero-shot task, scored by log-likelihood.</summary>
/// <param name="Task">The task's name, for instance <c>arc_easy</c>.</param>
/// <param name="Items">How many items were scored.</param>
/// <param name="Accuracy">The share of items whose most likely continuation is the right one, 0 to 1 (the harness's <c>acc</c>).</param>
/// <param name="AccuracyError">The standard error of <paramref name="Accuracy"/>.</param>
/// <param name="NormalizedAccuracy">The same with log-likelihoods divided by the continuation's length (<c>acc_norm</c>); null where a task has none.</param>
/// <param name="NormalizedAccuracyError">The standard error of <paramref name="NormalizedAccuracy"/>; null where there is none.</param>
public sealed record ZeroShotScore(
    string Task, int Items, double Accuracy, double AccuracyError, double? NormalizedAccuracy, double? NormalizedAccuracyError);
