using System.Text;
using Microsoft.Extensions.Logging;
using TorchSharp;

namespace DispLlm.Training;

/// <summary>
/// A run that learns, on disk: <c>state.safetensors</c>, replaced as a whole every few steps, and <c>steps.jsonl</c>, one line per step. A
/// killed run leaves both as they were after some step; lines after the state's step are dropped when the run resumes, and written again.
/// Not thread-safe.
/// </summary>
internal sealed class RunStore : IDisposable
{
    private readonly RunDirectory _directory;
    private readonly SavedState _state;
    private readonly ILogger _logger;
    private readonly FileStream _log;
    private long _logged;

    private RunStore(RunDirectory directory, SavedState state, ILogger logger, FileStream log)
    {
        _directory = directory;
        _state = state;
        _logger = logger;
        _log = log;
    }

    /// <summary>Whether there is a state to resume from.</summary>
    public bool HasState => _state.Exists;

    /// <summary>Opens the folder, which the caller has locked. The state of another run is refused before anything is computed.</summary>
    public static RunStore Open(RunDirectory directory, IReadOnlyDictionary<string, string> identity, ILogger logger)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(directory.EverySteps, 1);
        directory = directory with { Path = Path.GetFullPath(directory.Path) };
        var state = SavedState.Open(directory.StateFile, identity, logger);
        try
        {
            var log = new FileStream(directory.LogFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
            return new RunStore(directory, state, logger, log);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw RunLock.Refusal(directory.Path, e);
        }
    }

    /// <summary>Truncates the log and saves the first state. A failure here fails the run: nothing is lost yet.</summary>
    public void Begin(HypernetworkTrainer trainer)
    {
        try
        {
            _log.SetLength(0);
            Write(trainer);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(_directory.StateFile, null, $"the run cannot save its state: {e.Message}", e);
        }
    }

    /// <summary>Loads the saved state into the trainer; returns the steps before it, as far as the log has them.</summary>
    public IReadOnlyList<PruningProgress> Restore(HypernetworkTrainer trainer)
    {
        int step;
        using (var scope = torch.NewDisposeScope())
        {
            (step, var tensors) = _state.Load();
            trainer.LoadState(tensors, step);
        }

        byte[] bytes = new byte[_log.Length];
        _log.Position = 0;
        _log.ReadExactly(bytes);
        var history = StepLog.Read(bytes, step, trainer.Layout, out _logged);
        _log.SetLength(_logged);
        if (history.Count < step)
        {
            _logger.LogWarning("The log in {Folder} has {Lines} of the {Steps} steps done so far; the run resumes without the "
                + "others' figures", _directory.Path, history.Count, step);
        }

        _logger.LogInformation("Resuming at step {Step} from {Folder}", step, _directory.Path);
        return history;
    }

    /// <summary>Logs a step; saves the state every few steps, and at the end.</summary>
    public void After(PruningProgress report, HypernetworkTrainer trainer)
    {
        bool saves = report.Step % _directory.EverySteps == 0 || report.Step == report.Steps;
        _state.Try(() =>
        {
            // The next line overwrites one that was written only in part.
            byte[] line = Encoding.UTF8.GetBytes(StepLog.Line(report) + "\n");
            _log.Position = _logged;
            _log.Write(line);
            _logged += line.Length;
        });
        if (saves)
        {
            Save(trainer);
        }
    }

    /// <summary>Saves the state. Where that fails, the run logs it and continues; the last saved state is kept.</summary>
    public void Save(HypernetworkTrainer trainer) => _state.Try(() => Write(trainer));

    public void Dispose() => _log.Dispose();

    private void Write(HypernetworkTrainer trainer)
    {
        // The log first, so that no state is ahead of it.
        _log.Flush(flushToDisk: true);
        _state.Save(trainer.StepsDone, trainer.State());
    }
}
