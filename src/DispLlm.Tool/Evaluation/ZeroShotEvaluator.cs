using System.CommandLine;
using System.CommandLine.Parsing;

namespace DispLlm.Tool;

/// <summary>Zero-shot accuracy of each model, scored as EleutherAI's lm-evaluation-harness does.</summary>
internal sealed class ZeroShotEvaluator : Evaluator
{
    private static readonly string s_names = string.Join(", ", ZeroShotTask.KnownNames);

    private readonly Option<string[]> _tasks = new("--task")
    {
        Description =
            $"A zero-shot task and its file, such as arc_easy=ARC-Easy-Test.jsonl; repeat it for more. Tasks: {s_names}. Default: none",
        HelpName = "name=file",
        DefaultValueFactory = _ => [],
    };

    private readonly Option<int?> _maxItems = new Option<int?>("--max-items")
    {
        Description = "Items from the start of each task. Default: all",
        HelpName = "n",
    }.AtLeast(1);

    public ZeroShotEvaluator() => _tasks.Validators.Add(result =>
    {
        foreach (var token in result.Tokens)
        {
            if (token.Value.Split('=', 2) is not [var name, _] || !ZeroShotTask.KnownNames.Contains(name))
            {
                result.AddError($"'--task {token.Value}': a task is written as name=file, with one of {s_names}.");
            }
        }
    });

    public override string Name => "tasks";

    public override string Summary => "accuracy on the zero-shot tasks of --task";

    public override IEnumerable<Option> Options => [_tasks, _maxItems];

    public override string? FindMissing(CommandResult command, int models) =>
        command.IsSpecified(_tasks) ? null : "there is no task: give it one with '--task'.";

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        var files = arguments.GetRequiredValue(_tasks).Select(text => text.Split('=', 2));
        ZeroShotTask[] tasks = [.. files.Select(parts => ZeroShotTask.FromFile(parts[0], parts[1]))];
        var options = new ZeroShotOptions { MaxItems = arguments.GetValue(_maxItems) };
        var metrics = new List<Metric>();
        int done = 0, total = tasks.Length * input.Models.Count;
        foreach (var task in tasks)
        {
            ZeroShotScore[] scores =
            [
                .. input.Models.Select(model => ZeroShot.Evaluate(
                    model, TextTokenizer.FromFolder(model.Folder), task, options, display.Part(done++, total), cancellationToken)),
            ];
            metrics.Add(
                new Metric(
                    task.Name, FormattableString.Invariant($"{task.Name}, {scores[0].Items:N0} items"), "P1",
                    [.. scores.Select(score => score.Accuracy)]));
            if (task.IsNormalized)
            {
                metrics.Add(
                    new Metric(
                        $"{task.Name}_norm", $"{task.Name}, normalized by length", "P1",
                        [.. scores.Select(score => score.NormalizedAccuracy!.Value)]));
            }
        }

        return metrics;
    }
}
