using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// A measurement over calibration sequences: reported, and saved in the run directory, after every sequence. Begun again, it resumes after
/// the last one that was saved. Not thread-safe.
/// </summary>
internal sealed class Measurement
{
    private const string Seconds = "seconds";

    private readonly SelectionRequest _request;
    private readonly int _sequences;
    private readonly (string Name, Tensor Value)[] _values;
    private readonly SavedState? _state;
    private readonly TimeSpan _before;
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    /// <summary>Begins, or resumes, a measurement.</summary>
    /// <param name="request">Model, run directory and progress.</param>
    /// <param name="strategy">Who measures.</param>
    /// <param name="tokens">The calibration text.</param>
    /// <param name="sequences">Sequences in all.</param>
    /// <param name="values">All that the next sequence depends on. Where there is a state, its values are copied into them.</param>
    public Measurement(
        SelectionRequest request, ISelectionStrategy strategy, int[] tokens, int sequences, params (string Name, Tensor Value)[] values)
    {
        _request = request;
        _sequences = sequences;
        _values = values;
        if (request.RunDirectory is not { } directory)
        {
            return;
        }

        _state = SavedState.Open(directory.MeasuredFile, RunIdentity.Describe(request, strategy, tokens), request.Logger);
        if (_state.Exists)
        {
            using var noGradient = no_grad();
            using var scope = NewDisposeScope();
            (Done, var saved) = _state.Load();
            _before = TimeSpan.FromSeconds(saved[Seconds].ReadDouble());
            foreach (var (name, value) in values)
            {
                value.copy_(saved[name]);
            }
        }
    }

    /// <summary>Sequences done.</summary>
    public int Done { get; private set; }

    /// <summary>Saves and reports a sequence that is done.</summary>
    public void Advance()
    {
        Done++;
        var elapsed = _before + _clock.Elapsed;
        _state?.Try(() =>
        {
            using var seconds = tensor(elapsed.TotalSeconds);
            _state.Save(Done, _values.Append((Seconds, seconds)).ToDictionary(value => value.Item1, value => value.Item2));
        });
        _request.Progress?.Report(new PruningProgress(PruningPhase.Measuring, Done, _sequences, elapsed));
    }
}
