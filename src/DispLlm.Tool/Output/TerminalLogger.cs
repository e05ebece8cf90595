using Microsoft.Extensions.Logging;

namespace DispLlm.Tool;

/// <summary>Writes the log of the library to the terminal: warnings always, information with --verbose.</summary>
internal sealed class TerminalLogger(Terminal terminal) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) =>
        logLevel >= (terminal.Verbosity == Verbosity.Verbose ? LogLevel.Information : LogLevel.Warning);

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
        {
            return;
        }

        string text = formatter(state, exception);
        text = exception is null ? text : $"{text}: {exception.Message}";
        if (logLevel >= LogLevel.Warning)
        {
            terminal.Warn(text);
        }
        else
        {
            terminal.Note(text);
        }
    }
}
