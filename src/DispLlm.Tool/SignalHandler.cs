using System.Runtime.InteropServices;

namespace DispLlm.Tool;

/// <summary>
/// Ctrl-C, SIGTERM and SIGHUP cancel the work, which stops at its next step and saves the run. A second signal ends the process at once.
/// </summary>
internal sealed class SignalHandler : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;
    private readonly Action _onSignal;
    private int _code;

    public SignalHandler(Action onSignal)
    {
        _onSignal = onSignal;
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => Stop(signal, ExitCode.Interrupted)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => Stop(signal, ExitCode.Terminated)),
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal => Stop(signal, ExitCode.HungUp)),
        ];
    }

    public CancellationToken Token => _source.Token;

    /// <summary>The exit code of the first signal.</summary>
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
            _source.Cancel();
            _onSignal();
        }
    }
}
