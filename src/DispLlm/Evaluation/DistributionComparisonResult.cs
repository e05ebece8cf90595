namespace DispLlm.Evaluation;

/// <summary>How closely a model predicts what another one predicts, on any text: no labels are needed.</summary>
/// <param name="KlDivergence">Mean Kullback-Leibler divergence from the reference's predictions, in nats a token; 0 where they are the same.</param>
/// <param name="Top1Agreement">The share of tokens for which both think the same token most likely, 0 to 1.</param>
/// <param name="Tokens">How many predictions were compared.</param>
public sealed record DistributionComparisonResult(double KlDivergence, double Top1Agreement, long Tokens);
