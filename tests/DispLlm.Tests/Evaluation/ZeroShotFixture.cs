using System.Text.Json;

namespace DispLlm.Tests.Evaluation;

/// <summary>What the reference computes for the first items of a task.</summary>
internal sealed record ZeroShotFixture(IReadOnlyList<ZeroShotFixture.Row> Rows)
{
    public static ZeroShotFixture Read(string path)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        return new ZeroShotFixture([.. document.RootElement.GetProperty("rows").EnumerateArray().Select(Row.Of)]);
    }

    public sealed record Row(int Gold, int Prediction, int PredictionNorm, IReadOnlyList<Request> Requests)
    {
        public static Row Of(JsonElement row) => new(
            row.GetProperty("gold").GetInt32(),
            row.GetProperty("prediction").GetInt32(),
            row.GetProperty("prediction_norm").GetInt32(),
            [.. row.GetProperty("requests").EnumerateArray().Select(Request.Of)]);
    }

    public sealed record Request(string Context, string Continuation, double LogLikelihood, bool IsGreedy, int Tokens)
    {
        public static Request Of(JsonElement request) => new(
            request.GetProperty("context").GetString()!,
            request.GetProperty("continuation").GetString()!,
            request.GetProperty("loglikelihood").GetDouble(),
            request.GetProperty("is_greedy").GetBoolean(),
            request.GetProperty("tokens").GetInt32());
    }
}
