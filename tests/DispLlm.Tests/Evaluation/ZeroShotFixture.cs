using System.Text.Json;
using System.Text.Json.Serialization;

namespace DispLlm.Tests.Evaluation;

/// <summary>The reference results for the first items of a task.</summary>
internal sealed record ZeroShotFixture(IReadOnlyList<ZeroShotFixture.Row> Rows)
{
    private static readonly JsonSerializerOptions s_options = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static ZeroShotFixture Load(string path) => JsonSerializer.Deserialize<ZeroShotFixture>(File.ReadAllBytes(path), s_options)!;

    public sealed record Row(int Gold, int Prediction, int PredictionNorm, IReadOnlyList<Request> Requests);

    public sealed record Request(
        string Context, string Continuation, [property: JsonPropertyName("loglikelihood")] double LogLikelihood, bool IsGreedy, int Tokens);
}
