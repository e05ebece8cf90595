using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Evaluation;

/// <summary>Scoring by log-likelihood: definition, batches, truncation, interruption.</summary>
public sealed class ZeroShotTests : IDisposable
{
    private static readonly ZeroShotTask s_task = new(
        "own",
        [
            Item("The old man went", 1, " to the sea", " away", " of of the"),
            Item("She said that she", 0, " would come again to see her mother in the morning", " the"),
            Item("It was a very long sentence, which had been written by the master of the house, and", 2, " then", " so on and on", " he"),
            new ZeroShotItem([new ZeroShotChoice("The king was", " there."), new ZeroShotChoice("A dog and a queen were", " there.")], 0),
            Item("Yes ", 0, "sir", " no"),
            Item("", 1, "I", "He was a man"),
        ]);

    private readonly TemporaryFolder _folder = new();
    private readonly PrunableModel _model = PrunableModel.Load(SampleModel.Folder);
    private readonly TextTokenizer _tokenizer = TextTokenizer.FromFolder(SampleModel.Folder);

    public void Dispose()
    {
        _model.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Scores_match_their_definition(bool addBosToken)
    {
        var scores = ZeroShot.Score(_model, _tokenizer, s_task, new ZeroShotOptions { AddBosToken = addBosToken, BatchSize = 4 });
        int[] lead = addBosToken ? [_tokenizer.BosTokenId!.Value] : [];
        for (int i = 0; i < s_task.Items.Count; i++)
        {
            for (int j = 0; j < s_task.Items[i].Choices.Count; j++)
            {
                // Spaces at the end of a context belong to the continuation; an empty context is the beginning of a text.
                string context = s_task.Items[i].Choices[j].Context.TrimEnd(),
                    all = s_task.Items[i].Choices[j].Context + s_task.Items[i].Choices[j].Continuation;
                int[] before = context.Length == 0 ? [_tokenizer.BosTokenId!.Value] : [.. lead, .. _tokenizer.Encode(context)];
                int[] after = context.Length == 0
                    ? [.. _tokenizer.Encode(all)]
                    : [.. lead.Concat(_tokenizer.Encode(all)).Skip(before.Length)];
                var expected = ScoreAlone(before, after);
                Assert.Equal(expected.LogLikelihood, scores[i][j].LogLikelihood, 1e-3);
                Assert.Equal((expected.IsGreedy, expected.Tokens), (scores[i][j].IsGreedy, scores[i][j].Tokens));
            }
        }
    }

    [Fact]
    public void A_context_that_is_too_long_is_truncated_at_the_left()
    {
        int limit = _model.Spec.MaxPositions;
        string context = string.Concat(Enumerable.Repeat("the sea and the land ", limit / 4)).TrimEnd();
        var item = Item(context, 0, " was there", " and the old man went to the house");
        var scores = ZeroShot.Score(_model, _tokenizer, new ZeroShotTask("long", [item]));
        for (int j = 0; j < 2; j++)
        {
            int[] before = [.. _tokenizer.Encode(context)], all = [.. _tokenizer.Encode(context + item.Choices[j].Continuation)];
            Assert.True(before.Length > limit);
            int[] after = all[before.Length..], kept = all[^(limit + 1)..];
            var expected = ScoreAlone(kept[..^after.Length], after);
            Assert.Equal(expected.LogLikelihood, scores[0][j].LogLikelihood, 1e-3);
        }
    }

    [Fact]
    public void Accuracy_and_standard_error_match_their_definitions()
    {
        var scores = ZeroShot.Score(_model, _tokenizer, s_task);
        int[] best = [.. scores.Select(item => Enumerable.Range(0, item.Count).MaxBy(j => item[j].LogLikelihood))];
        int[] bestByCharacter =
        [
            .. scores.Select((item, i) => Enumerable.Range(0, item.Count).MaxBy(
                j => item[j].LogLikelihood / s_task.Items[i].Choices[j].Continuation.TrimStart().Length)),
        ];

        // The right answers are chosen so that both accuracies are known and differ.
        var task = new ZeroShotTask("chosen", [.. s_task.Items.Select((item, i) => item with { Gold = i < 4 ? best[i] : 1 - best[i] })]);
        var score = ZeroShot.Evaluate(_model, _tokenizer, task);
        Assert.Equal(4.0 / 6, score.Accuracy, 1e-12);
        Assert.Equal(Math.Sqrt((4 * Math.Pow(1.0 / 3, 2) + 2 * Math.Pow(2.0 / 3, 2)) / 5 / 6), score.AccuracyError, 1e-12);
        Assert.Equal((2 * (1.0 / 3) + 4 * (1.0 / 2)) / 6, score.Chance!.Value, 1e-12);
        Assert.Equal(6, score.Items);
        double normalized = (double)task.Items.Where((item, i) => item.Gold == bestByCharacter[i]).Count() / 6;
        Assert.Equal(normalized, score.NormalizedAccuracy!.Value, 1e-12);
        Assert.NotEqual(best, bestByCharacter);

        var plain = ZeroShot.Evaluate(_model, _tokenizer, new ZeroShotTask("plain", task.Items, isNormalized: false));
        Assert.Equal((score.Accuracy, null, null), (plain.Accuracy, plain.NormalizedAccuracy, plain.NormalizedAccuracyError));
    }

    [Fact]
    public void The_results_file_ends_with_the_accuracies_their_errors_and_chance()
    {
        var options = new ZeroShotOptions { ResultsFile = _folder.Below("results.jsonl") };
        var score = ZeroShot.Evaluate(_model, _tokenizer, s_task, options);
        var last = JsonNode.Parse(File.ReadAllLines(options.ResultsFile!)[^1])!;
        Assert.Equal((score.Accuracy, score.AccuracyError), ((double)last["accuracy"]!, (double)last["accuracy_error"]!));
        Assert.Equal(score.NormalizedAccuracyError, (double?)last["normalized_accuracy_error"]);
        Assert.Equal((score.Chance, score.Items), ((double?)last["chance"], (int)last["items"]!));
    }

    [Fact]
    public void A_context_begins_with_the_begin_of_text_token_where_the_tokenizer_adds_it()
    {
        Assert.True(_tokenizer.AddBosToken);
        Assert.Equal(Score(null), Score(true));
        Assert.NotEqual(Score(null), Score(false));

        IEnumerable<ContinuationScore> Score(bool? addBosToken) =>
            ZeroShot.Score(_model, _tokenizer, s_task, new ZeroShotOptions { AddBosToken = addBosToken }).SelectMany(item => item);
    }

    [Theory]
    [InlineData(null, 0.3, 0.3)]
    [InlineData(true, 0.3, 0.3)]
    [InlineData(false, 0.4, 0.35)]
    public void Accuracies_follow_the_begin_of_text_token(bool? addBosToken, double accuracy, double normalized)
    {
        string folder = SharedData.Path("failing/12-zero-shot-begin-of-text");
        using var model = PrunableModel.Load(folder);
        var task = ZeroShotTask.Piqa(Path.Combine(folder, "piqa.jsonl"));
        var options = new ZeroShotOptions { AddBosToken = addBosToken };
        var score = ZeroShot.Evaluate(model, TextTokenizer.FromFolder(folder), task, options);
        Assert.Equal((accuracy, normalized, 0.5, 20), (score.Accuracy, score.NormalizedAccuracy, score.Chance, score.Items));
        Assert.Equal(Math.Sqrt(accuracy * (1 - accuracy) / 19), score.AccuracyError, 1e-12);
    }

    [Fact]
    public void Length_is_counted_in_code_points_without_the_separating_space()
    {
        // Two answers of the same log-likelihood per token differ only by how long they are: an emoji is one character.
        var scores = ZeroShot.Score(_model, _tokenizer, new ZeroShotTask("emoji", [Item("Look:", 0, " \U0001F600", " aa")]));
        double emoji = scores[0][0].LogLikelihood, letters = scores[0][1].LogLikelihood / 2;
        var task = new ZeroShotTask("emoji", [Item("Look:", emoji > letters ? 0 : 1, " \U0001F600", " aa")]);
        Assert.Equal(1, ZeroShot.Evaluate(_model, _tokenizer, task).NormalizedAccuracy);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    public void Batch_size_does_not_change_the_scores(int size)
    {
        var four = ZeroShot.Score(_model, _tokenizer, s_task, new ZeroShotOptions { BatchSize = 4 });
        var other = ZeroShot.Score(_model, _tokenizer, s_task, new ZeroShotOptions { BatchSize = size });
        foreach (var (a, b) in four.SelectMany(item => item).Zip(other.SelectMany(item => item)))
        {
            Assert.Equal(a.LogLikelihood, b.LogLikelihood, 1e-4);
            Assert.Equal((a.IsGreedy, a.Tokens), (b.IsGreedy, b.Tokens));
        }
    }

    [Fact]
    public void An_interrupted_evaluation_resumes_with_the_same_scores()
    {
        var options = new ZeroShotOptions { BatchSize = 2 };
        var whole = ZeroShot.Score(_model, _tokenizer, s_task, options);
        string path = _folder.Below("results/own.jsonl");
        options = options with { ResultsFile = path };

        using var stop = new CancellationTokenSource();
        var stopping = new Callback<double>(_ => stop.Cancel());
        Assert.Throws<OperationCanceledException>(() => ZeroShot.Score(_model, _tokenizer, s_task, options, stopping, stop.Token));
        Assert.Equal(1 + 2, File.ReadAllLines(path).Length);

        // Killed during a write: the last line is torn.
        File.WriteAllText(path, File.ReadAllText(path)[..^20]);
        var seen = new List<double>();
        var resumed = ZeroShot.Score(_model, _tokenizer, s_task, options, new Callback<double>(seen.Add));
        Assert.Equal(whole.SelectMany(item => item), resumed.SelectMany(item => item));
        Assert.Equal([1.0 / 3, 2.0 / 3, 1], seen);
        Assert.Equal(1 + 6 + 1, File.ReadAllLines(path).Length);

        // Complete: nothing is computed again.
        string done = File.ReadAllText(path);
        Assert.Equal(whole.SelectMany(item => item), ZeroShot.Score(_model, _tokenizer, s_task, options).SelectMany(item => item));
        Assert.Equal(done, File.ReadAllText(path));
    }

    [Fact]
    public void Results_of_another_model_task_or_text_are_refused_with_the_differences()
    {
        var options = new ZeroShotOptions { ResultsFile = _folder.Below("results.jsonl"), MaxItems = 2 };
        ZeroShot.Evaluate(_model, _tokenizer, s_task, options);
        string before = File.ReadAllText(options.ResultsFile!);

        string Refused(IPrunableModel model, ZeroShotTask task, ZeroShotOptions asked) =>
            Assert.Throws<EvaluationException>(() => ZeroShot.Evaluate(model, _tokenizer, task, asked)).Message;

        string other = Refused(_model, new ZeroShotTask("other", s_task.Items), options);
        Assert.Contains("task is other here and own there", other, StringComparison.Ordinal);
        Assert.DoesNotContain("model is", other, StringComparison.Ordinal);
        Assert.Contains("items is 3 here and 2 there", Refused(_model, s_task, options with { MaxItems = 3 }), StringComparison.Ordinal);
        Assert.Contains(
            "text is ", Refused(_model, new ZeroShotTask("own", [s_task.Items[0], s_task.Items[2]]), options), StringComparison.Ordinal);

        var plan = new RandomSelection().Select(new SelectionRequest { Model = _model, Budget = PruningBudget.FromRatio(0.5) }).Plan;
        new PrunedModelBuilder(SampleModel.Folder, plan).Build(_folder.Below("pruned"));
        using var pruned = PrunableModel.Load(_folder.Below("pruned"));
        string model = Refused(pruned, s_task, options);
        Assert.Contains("model is ", model, StringComparison.Ordinal);
        Assert.DoesNotContain("text is", model, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllText(options.ResultsFile!));

        File.WriteAllText(_folder.Below("notes.txt"), "not ours\n");
        Assert.Contains(
            "notes.txt", Refused(_model, s_task, options with { ResultsFile = _folder.Below("notes.txt") }), StringComparison.Ordinal);
        Assert.Equal("not ours\n", File.ReadAllText(_folder.Below("notes.txt")));
    }

    [Fact]
    public void An_impossible_evaluation_is_refused_before_anything_is_computed()
    {
        var far = Item("a", 0, " b", string.Concat(Enumerable.Repeat(" the sea", _model.Spec.MaxPositions)));
        var error = Assert.Throws<EvaluationException>(
            () => ZeroShot.Evaluate(_model, _tokenizer, new ZeroShotTask("far", [.. s_task.Items, far])));
        Assert.Contains(
            _model.Spec.MaxPositions.ToString(System.Globalization.CultureInfo.InvariantCulture), error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(
            () => ZeroShot.Evaluate(_model, _tokenizer, s_task, new ZeroShotOptions { BatchSize = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(
            () => ZeroShot.Evaluate(_model, _tokenizer, s_task, new ZeroShotOptions { MaxItems = 0 }));
    }

    [Theory]
    [InlineData("llama-gqa-biases-tied")]
    [InlineData("opt-350m-style")]
    [InlineData("opt-pre-norm")]
    [InlineData("phi-1.5-style")]
    public void Continuations_of_one_context_have_the_logits_that_they_have_alone_in_every_family(string fixture)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.Load(Fixture.GetFolder(fixture));

        // One context of three tokens, two continuations of two tokens each, and padding.
        Tensor row = tensor(new long[] { 5, 6, 7, 8, 9, 10, 11, 0 }, ScalarType.Int64).unsqueeze(0);
        Tensor visible = ones([8, 8], ScalarType.Bool).tril();
        visible.narrow(0, 5, 2).narrow(1, 3, 2).fill_(false);
        visible[7] = zeros([8], ScalarType.Bool);
        visible[7, 7] = true;
        var layout = new SequenceLayout(tensor(new long[] { 0, 1, 2, 3, 4, 3, 4, 0 }, ScalarType.Int64).unsqueeze(0), visible.unsqueeze(0));
        Tensor together = model.ApplyLmHead(model.HiddenStates(row, layout));
        Tensor first = model.Logits(tensor(new long[] { 5, 6, 7, 8, 9 }, ScalarType.Int64).unsqueeze(0));
        Tensor second = model.Logits(tensor(new long[] { 5, 6, 7, 10, 11 }, ScalarType.Int64).unsqueeze(0));
        Close.Within(1e-4, first, together.narrow(1, 0, 5), "the first continuation");
        Close.Within(1e-4, second.narrow(1, 3, 2), together.narrow(1, 5, 2), "the second continuation");
    }

    [Fact]
    public void No_tensor_leaks()
    {
        ZeroShot.Evaluate(_model, _tokenizer, s_task);
        long before = LiveTensors.Before();
        ZeroShot.Evaluate(_model, _tokenizer, s_task);
        Assert.Equal(before, Tensor.TotalCount);
    }

    private static ZeroShotItem Item(string context, int gold, params string[] continuations) =>
        new([.. continuations.Select(continuation => new ZeroShotChoice(context, continuation))], gold);

    private ContinuationScore ScoreAlone(int[] context, int[] continuation)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        long[] ids = [.. context.Concat(continuation).Select(id => (long)id)];
        Tensor logarithms = _model.Logits(tensor(ids, ScalarType.Int64).unsqueeze(0)[.., ..^1])[0].log_softmax(-1);
        double sum = 0;
        bool greedy = true;
        for (int i = 0; i < continuation.Length; i++)
        {
            Tensor at = logarithms[context.Length - 1 + i];
            sum += at[continuation[i]].ToSingle();
            greedy &= at.argmax().ToInt64() == continuation[i];
        }

        return new ContinuationScore(sum, greedy, continuation.Length);
    }
}
