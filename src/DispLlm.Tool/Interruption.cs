using System.Runtime.InteropServices;

namespace DispLlm.Tool;

/// <summary>
/// Ctrl-C and SIGTERM ask the work to stop: it ends at its next step and saves what it has. A second one ends the process at once.
/// </summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;
    private readonly Action _told;
    private int _code;

    public Interruption(Action told)
    {
        _told = told;
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => Stop(signal, ExitCode.Interrupted)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => Stop(signal, ExitCode.Terminated)),
        ];
    }

    public CancellationToken Token => _source.Token;

    /// <summary>The exit code of the signal that came first.</summary>
    public int Code => _code;

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _source.Dispose();
    }

    private void Stop(PosixSignalContext signal, int code)
    {
        if (Interlocked.CompareExchange(ref _code, code, 0) == 0)
        {
            signal.Cancel = true;
            _told();
            _source.Cancel();
        }
    }
}
