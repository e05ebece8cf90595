using Spectre.Console;
using Spectre.Console.Rendering;

namespace DispLlm.Tool;

/// <summary>Shows progress as a live line: a bar, followed by details or the elapsed time.</summary>
internal sealed class LiveProgressDisplay : IProgressDisplay
{
    private readonly ProgressTask _task;

    private LiveProgressDisplay(ProgressTask task) => _task = task;

    public static Task<T> RunAsync<T>(IAnsiConsole console, string title, Func<IProgressDisplay, Task<T>> work)
    {
        var progress = console.Progress();
        progress.ExcludeVerticalPadding = true;
        var bar = new ProgressBarColumn { Width = Math.Clamp(console.Profile.Width - 90, 10, 40) };
        return progress
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, bar, new DetailsColumn())
            .StartAsync(async context =>
            {
                var task = context.AddTask(title.EscapeMarkup(), autoStart: true, maxValue: 1);
                task.IsIndeterminate = true;
                T result = await work(new LiveProgressDisplay(task)).ConfigureAwait(false);
                task.IsIndeterminate = false;
                task.Value = 1;
                return result;
            });
    }

    public void Report(double fraction, string? details = null)
    {
        _task.IsIndeterminate = false;
        _task.Tag = details;

        // At 1 Spectre.Console finishes the task and stops updating it, while work after the last report may take time.
        _task.Value = Math.Min(fraction, 0.999);
    }

    private sealed class DetailsColumn : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(task.Tag as string ?? Formatting.Duration(task.ElapsedTime ?? TimeSpan.Zero), new Style(Color.Grey));
    }
}
