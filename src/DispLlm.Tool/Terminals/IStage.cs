using System.Diagnostics;
using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace DispLlm.Tool;

/// <summary>A piece of work that is being done, as it is shown.</summary>
internal interface IStage
{
    /// <summary>Says how far the work is.</summary>
    /// <param name="fraction">0 to 1.</param>
    /// <param name="figures">What there is to say of it; null for nothing.</param>
    void Report(double fraction, string? figures = null);
}

/// <summary>
/// Plain lines: one at the start, and where there are figures one now and then and one at the end. Work in parts, each from 0 to 1, has these for each part.
/// </summary>
internal sealed class PlainStage : IStage
{
    private static readonly TimeSpan s_between = TimeSpan.FromSeconds(10);

    private readonly string _what;
    private readonly Action<string> _write;
    private long _last;
    private double _done = double.PositiveInfinity;

    public PlainStage(string what, Action<string> write)
    {
        _what = what;
        _write = write;
        write(what);
        _last = Stopwatch.GetTimestamp();
    }

    public void Report(double fraction, string? figures = null)
    {
        bool first = figures is not null && fraction < _done, last = figures is not null && fraction >= 1;
        if (first || last || Stopwatch.GetElapsedTime(_last) >= s_between)
        {
            _last = Stopwatch.GetTimestamp();
            _write($"{_what}: {figures ?? fraction.ToString("P0", CultureInfo.InvariantCulture)}");
        }

        _done = figures is null ? _done : fraction;
    }
}

/// <summary>A line that moves: a bar, and figures or the time behind it.</summary>
internal sealed class LiveStage : IStage
{
    private readonly ProgressTask _task;

    private LiveStage(ProgressTask task) => _task = task;

    public static Task<T> RunAsync<T>(IAnsiConsole console, string what, Func<IStage, Task<T>> work)
    {
        var progress = console.Progress();
        progress.ExcludeVerticalPadding = true;
        var bar = new ProgressBarColumn { Width = Math.Clamp(console.Profile.Width - 90, 10, 40) };
        return progress
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, bar, new FiguresColumn())
            .StartAsync(async context =>
            {
                var task = context.AddTask(Markup.Escape(what), autoStart: true, maxValue: 1);
                task.IsIndeterminate = true;
                T result = await work(new LiveStage(task)).ConfigureAwait(false);
                task.IsIndeterminate = false;
                task.Value = 1;
                return result;
            });
    }

    public void Report(double fraction, string? figures = null)
    {
        _task.IsIndeterminate = false;
        _task.Tag = figures;

        // At 1 the line counts as finished and moves no more; what is behind the last report may still take a while.
        _task.Value = Math.Min(fraction, 0.999);
    }

    private sealed class FiguresColumn : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(task.Tag as string ?? Durations.Short(task.ElapsedTime ?? TimeSpan.Zero), new Style(Color.Grey));
    }
}
