using System.Text.Json;
using System.Text.Json.Serialization;

namespace DispLlm.Tests.Evaluation;

/// <summary>
/// What EleutherAI's lm-evaluation-harness 0.4.13 gives with its defaults: for a tokenizer that opens a text, and for three that do not.
/// </summary>
public sealed class ZeroShotHarnessTests
{
    private static readonly JsonSerializerOptions s_options = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    [Theory]
    [InlineData("small-llama", true)]
    [InlineData("small-opt", false)]
    [InlineData("small-phi", false)]
    public void Scores_and_accuracies_are_those_of_the_harness(string name, bool opensText) => Compare(name, opensText);

    [Fact]
    [Trait("Category", "Slow")]
    public void Scores_and_accuracies_of_a_real_model_are_those_of_the_harness() => Compare("SmolLM2-135M-Instruct", opensText: false);

    private static void Compare(string name, bool opensText)
    {
        string folder = SharedData.Path("models", name);
        Assert.SkipUnless(
            File.Exists(Path.Combine(folder, "model.safetensors")), "The weights are not unpacked: run shared/models/unpack.sh.");
        var expected = JsonSerializer.Deserialize<HarnessRun>(
            File.ReadAllBytes(SharedData.Path($"fixtures/zero-shot-harness/{name}.json")), s_options)!;
        using var model = PrunableModel.Load(folder);
        var tokenizer = TextTokenizer.FromFolder(folder);
        Assert.Equal(opensText, tokenizer.AddBosToken);
        using var results = new TemporaryFolder();
        foreach (var (file, task) in expected.Tasks)
        {
            string key = file.Replace('-', '_');
            var read = ZeroShotTask.FromFile(key, SharedData.Path($"data/zero-shot/{file}.jsonl"));
            var options = new ZeroShotOptions { MaxItems = task.Items, ResultsFile = results.Below(key) };
            var scores = ZeroShot.Score(model, tokenizer, read, options, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(task.Items, scores.Count);
            foreach (var (row, item) in task.Rows.Zip(scores))
            {
                foreach (var (request, score) in row.Requests.Zip(item, (request, score) => (request, score)))
                {
                    Assert.True(
                        Math.Abs(request.LogLikelihood - score.LogLikelihood) <= 1e-3,
                        $"{name}, {file}: {request.LogLikelihood} for '{request.Continuation}', not {score.LogLikelihood}.");
                    Assert.Equal((request.Tokens, request.IsGreedy), (score.Tokens, score.IsGreedy));
                }
            }

            // From the results file: nothing is computed again.
            var accuracy = ZeroShot.Evaluate(model, tokenizer, read, options, cancellationToken: TestContext.Current.CancellationToken);
            Assert.Equal(task.Acc, accuracy.Accuracy, 1e-12);
            if (read.IsNormalized)
            {
                Assert.Equal(task.AccNorm!.Value, accuracy.NormalizedAccuracy!.Value, 1e-12);
            }
        }
    }

    private sealed record HarnessRun(Dictionary<string, HarnessTask> Tasks);

    private sealed record HarnessTask(
        int Items, double Acc, IReadOnlyList<ZeroShotFixture.Row> Rows, [property: JsonPropertyName("acc_norm")] double? AccNorm = null);
}
