using System.Globalization;
using System.Text;
using Microsoft.Extensions.Logging;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// A run on disk: <c>state.safetensors</c>, replaced as a whole every few steps, and <c>steps.jsonl</c>, one line per step. A killed run
/// leaves both as they were after some step; lines after the state's step are dropped when the run resumes, and written again. Not
/// thread-safe.
/// </summary>
internal sealed class RunStore : IDisposable
{
    private const string Format = "displlm-run-1";
    private const string FormatKey = "format";
    private const string StepKey = "step";

    private readonly string _state;
    private readonly int _everySteps;
    private readonly IReadOnlyDictionary<string, string> _identity;
    private readonly ILogger _logger;
    private readonly FileStream _lock;
    private readonly FileStream _log;
    private long _logged;
    private bool _stateFails;
    private bool _logFails;

    private RunStore(string state, int everySteps, IReadOnlyDictionary<string, string> identity, ILogger logger, FileStream own,
        FileStream log)
    {
        _lock = own;
        _state = state;
        _everySteps = everySteps;
        _identity = identity;
        _logger = logger;
        _log = log;
        HasState = File.Exists(state);
    }

    /// <summary>Whether there is a state to resume from.</summary>
    public bool HasState { get; }

    /// <summary>Locks the folder for this run. The state of another run is refused here, before anything is computed.</summary>
    public static RunStore Open(RunDirectory directory, IReadOnlyDictionary<string, string> identity, ILogger logger)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(directory.EverySteps, 1);
        string path = Path.GetFullPath(directory.Path);
        directory = directory with { Path = path };
        FileStream? own = null, log = null;
        try
        {
            Directory.CreateDirectory(path);

            // Two runs in one folder would mix their steps. The system releases the lock with the process, however that ends.
            own = new FileStream(directory.LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            log = new FileStream(directory.LogFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
            var store = new RunStore(directory.StateFile, directory.EverySteps, identity, logger, own, log);
            store.CheckIdentity();
            return store;
        }
        catch (Exception e)
        {
            log?.Dispose();
            own?.Dispose();
            if (e is not (IOException or UnauthorizedAccessException))
            {
                throw;
            }

            throw new CheckpointException(
                path, null,
                    $"the run cannot keep its state here: {e.Message} Is another run using the folder? Give each run a folder of its own "
                        + "that can be written.", e);
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
            throw new CheckpointException(_state, null, $"the run cannot save its state: {e.Message}", e);
        }
    }

    /// <summary>Loads the saved state into the trainer; returns the steps before it, as far as the log has them.</summary>
    public IReadOnlyList<PruningProgress> Restore(HypernetworkTrainer trainer)
    {
        int step;
        using (var file = SafetensorsFile.Open(_state))
        using (var scope = NewDisposeScope())
        {
            step = int.Parse(file.Metadata[StepKey], CultureInfo.InvariantCulture);
            trainer.LoadState(file.Tensors.ToDictionary(info => info.Name, info => file.Read(info.Name), StringComparer.Ordinal), step);
        }

        byte[] bytes = new byte[_log.Length];
        _log.Position = 0;
        _log.ReadExactly(bytes);
        var history = StepLog.Read(bytes, step, trainer.Layout, out _logged);
        _log.SetLength(_logged);
        if (history.Count < step)
        {
            _logger.LogWarning("The log in {Folder} has {Lines} of the {Steps} steps done so far; the run resumes without the "
                + "others' figures", Folder, history.Count, step);
        }

        _logger.LogInformation("Resuming at step {Step} from {Folder}", step, Folder);
        return history;
    }

    /// <summary>Logs a step; saves the state every few steps, and at the end.</summary>
    public void After(PruningProgress report, HypernetworkTrainer trainer)
    {
        Try(ref _logFails, () =>
        {
            // The next line overwrites one that was written only in part.
            byte[] line = Encoding.UTF8.GetBytes(StepLog.Line(report) + "\n");
            _log.Position = _logged;
            _log.Write(line);
            _logged += line.Length;
        });
        if (report.Step % _everySteps == 0 || report.Step == report.Steps)
        {
            Save(trainer);
        }
    }

    /// <summary>Saves the state. Where that fails, the run logs it and continues; the last saved state is kept.</summary>
    public void Save(HypernetworkTrainer trainer) => Try(ref _stateFails, () => Write(trainer));

    public void Dispose()
    {
        _log.Dispose();
        _lock.Dispose();
    }

    private string Folder => Path.GetDirectoryName(_state)!;

    private void Write(HypernetworkTrainer trainer)
    {
        // The log first, so that no state is ahead of it.
        _log.Flush(flushToDisk: true);
        var metadata = new Dictionary<string, string>(_identity, StringComparer.Ordinal)
        {
            [FormatKey] = Format,
            [StepKey] = trainer.StepsDone.ToString(CultureInfo.InvariantCulture),
        };
        using var scope = NewDisposeScope();
        var tensors =
            trainer.State().ToDictionary(entry => entry.Key, entry => entry.Value.detach().cpu().contiguous(), StringComparer.Ordinal);
        using var writer = SafetensorsWriter.Create(_state,
            tensors.Select(entry => new TensorInfo(entry.Key, entry.Value.dtype, entry.Value.shape)), metadata);
        foreach (var (name, value) in tensors)
        {
            writer.Write(name, value);
        }

        writer.Complete();
    }

    private void CheckIdentity()
    {
        if (!HasState)
        {
            return;
        }

        using var file = SafetensorsFile.Open(_state);
        string? format = file.Metadata.GetValueOrDefault(FormatKey);
        if (format != Format
            || !int.TryParse(file.Metadata.GetValueOrDefault(StepKey), NumberStyles.None, CultureInfo.InvariantCulture, out _))
        {
            throw new CheckpointException(_state, FormatKey,
                $"this is no state of a run that this version can resume ('{format}', not '{Format}'). Use another folder.");
        }

        var differences = RunIdentity.Differences(_identity,
            file.Metadata.Where(entry => entry.Key is not (FormatKey or StepKey)).ToDictionary(StringComparer.Ordinal));
        if (differences.Count > 0)
        {
            throw new CheckpointException(
                _state,
                differences[0].Split(' ')[0],
                $"the folder holds the state of another run: {string.Join("; ", differences.Take(5))}. Resume that run with its own "
                    + "settings, or use another folder.");
        }
    }

    private void Try(ref bool fails, Action action)
    {
        try
        {
            action();
            fails = false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!fails)
            {
                _logger.LogWarning(e, "The run in {Folder} cannot be saved at present and continues; what was saved before is kept",
                    Folder);
                fails = true;
            }
        }
    }
}
