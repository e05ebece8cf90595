namespace DispLlm.Tests.Evaluation;

/// <summary>A real model on published tasks, compared with the reference for their first items.</summary>
public sealed class ZeroShotReferenceTests
{
    // Per task. The reference has 20; fewer keep the test short.
    private const int Items = 6;

    private static readonly Dictionary<string, string> s_files = new()
    {
        ["arc_easy"] = "arc-easy",
        ["arc_challenge"] = "arc-challenge",
        ["piqa"] = "piqa",
        ["winogrande"] = "winogrande",
        ["openbookqa"] = "openbookqa",
    };

    public static TheoryData<string> Tasks => [.. s_files.Keys];

    [Theory]
    [MemberData(nameof(Tasks))]
    public void Prompts_match_the_reference(string name)
    {
        var task = ZeroShotTask.FromFile(name, SharedData.Path($"data/zero-shot/{s_files[name]}.jsonl"));
        var rows = ZeroShotFixture.Load(SharedData.Path($"fixtures/zero-shot/{s_files[name]}.json")).Rows;
        for (int i = 0; i < rows.Count; i++)
        {
            Assert.Equal(rows[i].Gold, task.Items[i].Gold);
            Assert.Equal(rows[i].Requests.Select(request => (request.Context, request.Continuation)), task.Items[i].Choices.Select(
                choice => (choice.Context, choice.Continuation)));
        }
    }

    [Fact]
    [Trait("Category", "Slow")]
    public void Log_likelihoods_match_the_reference()
    {
        string folder = SharedData.Path("models/SmolLM2-135M-Instruct");
        Assert.SkipUnless(
            File.Exists(Path.Combine(folder, "model.safetensors")), "The weights are not unpacked: run shared/models/unpack.sh.");
        using var model = PrunableModel.Load(folder);
        var tokenizer = TextTokenizer.FromFolder(folder);
        double worst = 0;
        foreach (var (name, file) in s_files)
        {
            var task = ZeroShotTask.FromFile(name, SharedData.Path($"data/zero-shot/{file}.jsonl"));
            var options = new ZeroShotOptions { MaxItems = Items };
            var scores = ZeroShot.Score(model, tokenizer, task, options, cancellationToken: TestContext.Current.CancellationToken);
            var rows = ZeroShotFixture.Load(SharedData.Path($"fixtures/zero-shot/{file}.json")).Rows.Take(Items).ToList();
            foreach (var (request, score) in rows.SelectMany(row => row.Requests).Zip(scores.SelectMany(item => item)))
            {
                double difference = Math.Abs(request.LogLikelihood - score.LogLikelihood);
                worst = Math.Max(worst, difference);
                Assert.True(difference <= 1e-3, $"{name}: {request.LogLikelihood} for '{request.Continuation}', not {score.LogLikelihood}");
                Assert.Equal((request.Tokens, request.IsGreedy), (score.Tokens, score.IsGreedy));
            }
        }

        TestContext.Current.TestOutputHelper!.WriteLine($"Log-likelihoods differ by {worst:E1} at most.");
    }

    [Theory]
    [MemberData(nameof(Tasks))]
    public void Published_files_are_read_completely(string name)
    {
        var task = ZeroShotTask.FromFile(name, SharedData.Path($"data/zero-shot/{s_files[name]}.jsonl"));
        Assert.Equal(name, task.Name);
        Assert.True(task.Items.Count >= 500);
        Assert.Equal(name != "winogrande", task.IsNormalized);
    }
}
