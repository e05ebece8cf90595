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

    private readonly ChoiceOption<bool?> _bos = new(
        "--bos",
        "Begin-of-text token before every prompt of a task: auto (where the tokenizer adds one, as lm-evaluation-harness since 0.4.10), "
            + "never (as before it) or always",
        ("auto", null),
        ("never", false),
        ("always", true));

    private IReadOnlyList<ZeroShotTask> _read = [];

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

    public override IEnumerable<Option> Options => [_tasks, _maxItems, _bos];

    public override void ReadFiles(ParseResult arguments) =>
        _read = [.. arguments.GetRequiredValue(_tasks).Select(text => text.Split('=', 2)).Select(
            parts => ZeroShotTask.FromFile(parts[0], parts[1]))];

    public override string? FindMissing(CommandResult command, int models) =>
        command.IsSpecified(_tasks) ? null : "there is no task: give it one with '--task'.";

    public override IReadOnlyList<Metric> Evaluate(
        EvaluationInput input, ParseResult arguments, IProgressDisplay display, CancellationToken cancellationToken)
    {
        var options = new ZeroShotOptions { MaxItems = arguments.GetValue(_maxItems), AddBosToken = _bos.Read(arguments) };
        var metrics = new List<Metric>();
        int done = 0, total = _read.Count * input.Models.Count;
        foreach (var task in _read)
        {
            ZeroShotScore[] scores =
            [
                .. input.Models.Select(model => ZeroShot.Evaluate(
                    model.Model, model.Tokenizer ?? TextTokenizer.FromFolder(model.Folder), task, options, display.Part(done++, total),
                    cancellationToken)),
            ];
            var (items, chance) = (scores[0].Items, scores[0].Chance!.Value);
            metrics.Add(
                new Metric(
                    task.Name, FormattableString.Invariant($"{task.Name}, {items:N0} items, chance {chance:P1}"), "P1",
                    [.. scores.Select(score => score.Accuracy)])
                {
                    Errors = [.. scores.Select(score => score.AccuracyError)],
                    Task = (items, chance),
                });
            if (task.IsNormalized)
            {
                metrics.Add(
                    new Metric(
                        $"{task.Name}_norm", $"{task.Name}, normalized by length", "P1",
                        [.. scores.Select(score => score.NormalizedAccuracy!.Value)])
                    {
                        Errors = [.. scores.Select(score => score.NormalizedAccuracyError!.Value)],
                    });
            }
        }

        return metrics;
    }
}
