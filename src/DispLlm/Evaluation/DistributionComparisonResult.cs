using System.Text.Json.Serialization;

namespace DispLlm.Evaluation;

/// <summary>How close the predictions of a model are to those of a reference model. Immutable and thread-safe.</summary>
/// <param name="KlDivergence">
/// Mean Kullback-Leibler divergence from the predictions of the reference, in nats per token; 0 for equal predictions.
/// </param>
/// <param name="Top1Agreement">Fraction of positions at which both models have the same most likely token, 0 to 1.</param>
/// <param name="Tokens">Number of positions compared.</param>
public sealed record DistributionComparisonResult(
    [property: JsonPropertyName("divergence")] double KlDivergence,
    [property: JsonPropertyName("top_match")] double Top1Agreement,
    long Tokens);
