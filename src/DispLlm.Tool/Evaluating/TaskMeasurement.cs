using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>Zero-shot tasks, scored by log-likelihood as EleutherAI's harness scores them.</summary>
internal sealed class TaskMeasurement : Measurement
{
    private readonly Option<string[]> _tasks = new("--task")
    {
        Description = $"A zero-shot task and its file, as in arc_easy=ARC-Easy-Test.jsonl; give it again for more. Tasks: {string.Join(", ", ZeroShotTask.KnownNames)}. Default: none",
        HelpName = "name=file",
        DefaultValueFactory = _ => [],
    };

    private readonly Option<int?> _maxItems = new Option<int?>("--max-items")
    {
        Description = "Items from the start of each task. Default: all of them",
        HelpName = "n",
    }.AtLeast(1);

    public TaskMeasurement() => _tasks.Validators.Add(result =>
    {
        foreach (string text in result.Tokens.Select(token => token.Value).Where(text => !ZeroShotTask.KnownNames.Contains(text.Split('=')[0]) || !text.Contains('=', StringComparison.Ordinal)))
        {
            result.AddError($"'--task {text}': a task is written as name=file, with one of {string.Join(", ", ZeroShotTask.KnownNames)}.");
        }
    });

    public override string Name => "tasks";

    public override string Summary => "zero-shot tasks, those of --task";

    public override IEnumerable<Option> Options => [_tasks, _maxItems];

    public override IReadOnlyList<Figure> Measure(Subjects subjects, ParseResult arguments, IStage stage, CancellationToken cancellation)
    {
        var tasks = arguments.GetRequiredValue(_tasks).Select(text => text.Split('=', 2)).Select(parts => ZeroShotTask.FromFile(parts[0], parts[1])).ToArray();
        var options = new ZeroShotOptions { MaxItems = arguments.GetValue(_maxItems) };
        var figures = new List<Figure>();
        int done = 0, all = tasks.Length * subjects.Models.Count;
        foreach (var task in tasks)
        {
            var scores = new List<ZeroShotScore>();
            foreach (var model in subjects.Models)
            {
                var tokenizer = TextTokenizer.FromFolder(model.Folder);
                scores.Add(ZeroShot.Evaluate(model, tokenizer, task, options, new Told<double>(fraction => stage.Report((done + fraction) / all)), cancellation));
                done++;
            }

            figures.Add(new Figure(task.Name, FormattableString.Invariant($"{task.Name}, {scores[0].Items:N0} items"), "P1", [.. scores.Select(score => score.Accuracy)]));
            if (task.IsNormalized)
            {
                figures.Add(new Figure($"{task.Name}_norm", $"{task.Name}, by length", "P1", [.. scores.Select(score => score.NormalizedAccuracy!.Value)]));
            }
        }

        return figures;
    }
}
