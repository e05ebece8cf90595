using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>How much the tool says while it works.</summary>
internal enum Verbosity
{
    /// <summary>Results, warnings and errors.</summary>
    Quiet,

    /// <summary>What is being done, too.</summary>
    Normal,

    /// <summary>What the library logs, and where an error came from, too.</summary>
    Verbose,
}

/// <summary>
/// Where the tool speaks. The result goes to the standard output, for people or as JSON; all else to the standard error, live where that is a terminal and in plain
/// lines where it is not.
/// </summary>
internal sealed class Terminal
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Wider than any line: no path or command is broken in two.</summary>
    private const int Unwrapped = 10_000;

    private readonly IAnsiConsole _error = Connect(Console.Error, Console.IsErrorRedirected);
    private readonly IAnsiConsole _lines = Connect(Console.Error, Console.IsErrorRedirected);
    private readonly bool _live;
    private bool _showing;

    public Terminal(Verbosity verbosity, bool json)
    {
        _lines.Profile.Width = Unwrapped;
        Verbosity = verbosity;
        IsJson = json;
        _live = verbosity != Verbosity.Quiet && !Console.IsErrorRedirected && _error.Profile.Capabilities is { Ansi: true, Interactive: true };
        Logger = new TerminalLogger(this);
    }

    public Verbosity Verbosity { get; }

    public bool IsJson { get; }

    /// <summary>What the library is given to log to.</summary>
    public ILogger Logger { get; }

    /// <summary>Says something on the standard error, unless it is to be quiet.</summary>
    public void Note(string text)
    {
        if (Verbosity != Verbosity.Quiet)
        {
            Write(text, Style.Plain);
        }
    }

    /// <summary>Says what should not be missed.</summary>
    public void Warn(string text) => Write(text, new Style(Color.Yellow));

    /// <summary>Says what went wrong.</summary>
    public void Fail(Failure failure)
    {
        Write(failure.Message, new Style(Color.Red));
        if (IsJson)
        {
            Print(failure.ToJson());
        }
    }

    /// <summary>Gives the result: as one JSON object, or drawn.</summary>
    public void Result(JsonObject json, Action<IAnsiConsole> draw)
    {
        if (IsJson)
        {
            Print(json);
            return;
        }

        draw(Connect(Console.Out, Console.IsOutputRedirected));
    }

    /// <summary>Does a piece of work on another thread and shows how far it is.</summary>
    /// <param name="what">What is done, in a few words.</param>
    /// <param name="work">The work; it may report to the stage.</param>
    public async Task<T> ShowAsync<T>(string what, Func<IStage, T> work)
    {
        Task<T> Start(IStage stage) => Task.Run(() => work(stage));
        if (!_live)
        {
            return await Start(new PlainStage(what, Note));
        }

        _showing = true;
        try
        {
            return await LiveStage.RunAsync(_error, what, Start);
        }
        finally
        {
            _showing = false;
        }
    }

    private void Write(string text, Style style)
    {
        lock (_error)
        {
            if (_showing)
            {
                // Above the line that moves, over what it has written there.
                _error.Write(new Text(text.PadRight(_error.Profile.Width - 1) + Environment.NewLine, style));
            }
            else
            {
                _lines.Write(new Text(text + Environment.NewLine, style));
            }
        }
    }

    private static void Print(JsonObject json) => Console.Out.WriteLine(json.ToJsonString(s_indented));

    private static IAnsiConsole Connect(TextWriter writer, bool redirected)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = redirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = redirected ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
        });
        if (redirected)
        {
            console.Profile.Width = Unwrapped;
        }

        return console;
    }
}
