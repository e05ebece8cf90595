using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>How much the tool writes.</summary>
internal enum Verbosity
{
    /// <summary>Results, warnings and errors.</summary>
    Quiet,

    /// <summary>Progress, too.</summary>
    Normal,

    /// <summary>The log of the library and stack traces, too.</summary>
    Verbose,
}

/// <summary>
/// The output of the tool. The result goes to the standard output, as text or as JSON. Everything else goes to the standard error: live on
/// a terminal, otherwise in plain lines.
/// </summary>
internal sealed class Terminal
{
    private static readonly JsonSerializerOptions s_indented =
        new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>A width at which no path or command wraps.</summary>
    public const int Unwrapped = 10_000;

    private readonly TextWriter _output;
    private readonly IAnsiConsole _error;
    private readonly IAnsiConsole _lines;
    private readonly bool _canBeLive;
    private bool _isLive;

    public Terminal(Verbosity verbosity, bool json, TextWriter output, TextWriter error)
    {
        bool isRedirected = error != Console.Error || Console.IsErrorRedirected;
        _output = output;
        _error = CreateConsole(new LossyOutput(error), isRedirected);
        _lines = CreateConsole(new LossyOutput(error), isRedirected);
        _lines.Profile.Width = Unwrapped;
        Verbosity = verbosity;
        IsJson = json;
        _canBeLive = verbosity != Verbosity.Quiet && !isRedirected && _error.Profile.Capabilities is { Ansi: true, Interactive: true };
        Logger = new TerminalLogger(this);
    }

    public Verbosity Verbosity { get; }

    public bool IsJson { get; }

    /// <summary>The logger for the library.</summary>
    public ILogger Logger { get; }

    /// <summary>JSON as the tool writes it.</summary>
    public static string Indent(JsonObject json) => json.ToJsonString(s_indented);

    /// <summary>Writes a line to the standard error, unless it is quiet.</summary>
    public void Note(string text)
    {
        if (Verbosity != Verbosity.Quiet)
        {
            Write(text, Style.Plain);
        }
    }

    /// <summary>Writes a warning.</summary>
    public void Warn(string text) => Write(text, new Style(Color.Yellow));

    /// <summary>Writes an error.</summary>
    public void Fail(Failure failure)
    {
        Write(failure.Message, new Style(Color.Red));
        if (failure.Kept is not null)
        {
            Warn(failure.Kept.ToString());
        }

        if (IsJson)
        {
            Print(failure.ToJson());
        }
    }

    /// <summary>Writes the result: as one JSON object, or as text.</summary>
    public void Result(JsonObject json, Action<IAnsiConsole> draw)
    {
        if (IsJson)
        {
            Print(json);
            return;
        }

        draw(CreateConsole(new AnsiConsoleOutput(_output), _output != Console.Out || Console.IsOutputRedirected));
    }

    /// <summary>Writes a piece of a text result, unless the result is JSON.</summary>
    public void Stream(string piece)
    {
        if (!IsJson)
        {
            _output.Write(piece);
            _output.Flush();
        }
    }

    /// <summary>Runs work on another thread and shows its progress.</summary>
    /// <param name="title">A short title of the work.</param>
    /// <param name="work">The work; it may report to the display.</param>
    public async Task<T> ShowAsync<T>(string title, Func<IProgressDisplay, T> work)
    {
        Task<T> Start(IProgressDisplay display) => Task.Run(() => work(display));
        if (!_canBeLive)
        {
            return await Start(new PlainProgressDisplay(title, Note));
        }

        _isLive = true;
        try
        {
            return await LiveProgressDisplay.RunAsync(_error, title, Start);
        }
        finally
        {
            _isLive = false;
        }
    }

    private void Write(string text, Style style)
    {
        lock (_error)
        {
            if (_isLive)
            {
                // Above the live line, over what it has written there.
                _error.Write(new Text(text.PadRight(_error.Profile.Width - 1) + Environment.NewLine, style));
            }
            else
            {
                _lines.Write(new Text(text + Environment.NewLine, style));
            }
        }
    }

    private void Print(JsonObject json) => _output.WriteLine(Indent(json));

    private static IAnsiConsole CreateConsole(IAnsiConsoleOutput output, bool redirected)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = output,
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
