using System.Globalization;
using Microsoft.Extensions.Logging;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// What stopped work resumes from: tensors in a file that every save replaces as a whole, with the number of steps done and the identity of
/// the work, names and values that its outcome follows from. Not thread-safe.
/// </summary>
internal sealed class SavedState
{
    private const string Format = "displlm-run-1";
    private const string FormatKey = "format";
    private const string StepKey = "step";

    private readonly string _path;
    private readonly IReadOnlyDictionary<string, string> _identity;
    private readonly ILogger _logger;
    private bool _fails;

    private SavedState(string path, IReadOnlyDictionary<string, string> identity, ILogger logger)
    {
        _path = path;
        _identity = identity;
        _logger = logger;
        Exists = File.Exists(path);
    }

    /// <summary>Whether there was a state to resume from.</summary>
    public bool Exists { get; }

    /// <summary>Looks for the state of some work. The state of other work is refused.</summary>
    /// <param name="path">The file.</param>
    /// <param name="identity">The identity of the work.</param>
    /// <param name="logger">Where a save that fails is logged.</param>
    /// <exception cref="CheckpointException">The file has no state, or that of other work; what differs is named.</exception>
    public static SavedState Open(string path, IReadOnlyDictionary<string, string> identity, ILogger logger)
    {
        var state = new SavedState(path, identity, logger);
        if (state.Exists)
        {
            using var file = SafetensorsFile.Open(path);
            state.CheckIdentity(file);
        }

        return state;
    }

    /// <summary>The saved tensors by name, in the caller's dispose scope, and the steps done.</summary>
    public (int Step, IReadOnlyDictionary<string, Tensor> Tensors) Load()
    {
        using var file = SafetensorsFile.Open(_path);
        return (ReadStep(file)!.Value, file.Tensors.ToDictionary(info => info.Name, info => file.Read(info.Name), StringComparer.Ordinal));
    }

    /// <summary>Replaces the state.</summary>
    public void Save(int step, IEnumerable<KeyValuePair<string, Tensor>> tensors)
    {
        var metadata = new Dictionary<string, string>(_identity, StringComparer.Ordinal)
        {
            [FormatKey] = Format,
            [StepKey] = step.ToString(CultureInfo.InvariantCulture),
        };
        using var scope = NewDisposeScope();
        var values = tensors.ToDictionary(entry => entry.Key, entry => entry.Value.detach().cpu().contiguous(), StringComparer.Ordinal);
        using var writer = SafetensorsWriter.Create(
            _path, values.Select(entry => new TensorInfo(entry.Key, entry.Value.dtype, entry.Value.shape)), metadata);
        foreach (var (name, value) in values)
        {
            writer.Write(name, value);
        }

        writer.Complete();
    }

    /// <summary>Does what saves something. Where that fails, the work logs it once and continues; what was saved before is kept.</summary>
    public void Try(Action save)
    {
        try
        {
            save();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!_fails)
            {
                _logger.LogWarning(e, "The run in {Folder} cannot be saved at present and continues; what was saved before is kept",
                    Path.GetDirectoryName(_path));
                _fails = true;
            }
        }
    }

    private static int? ReadStep(SafetensorsFile file) =>
        file.Metadata.GetValueOrDefault(FormatKey) == Format
            && int.TryParse(file.Metadata.GetValueOrDefault(StepKey), NumberStyles.None, CultureInfo.InvariantCulture, out int step)
            ? step
            : null;

    private void CheckIdentity(SafetensorsFile file)
    {
        if (ReadStep(file) is null)
        {
            throw new CheckpointException(_path, FormatKey,
                $"this is no state of a run that this version can resume ('{file.Metadata.GetValueOrDefault(FormatKey)}', not '{Format}'). "
                    + "Use another folder.");
        }

        string[] keys =
        [
            .. _identity.Keys.Union(file.Metadata.Keys.Where(key => key is not (FormatKey or StepKey)))
                .Where(key => _identity.GetValueOrDefault(key) != file.Metadata.GetValueOrDefault(key)),
        ];
        if (keys.Length > 0)
        {
            string Say(IReadOnlyDictionary<string, string> values, string key) => values.GetValueOrDefault(key) ?? "not set";
            var differences = keys.Take(5).Select(key => $"{key} is {Say(_identity, key)} here and {Say(file.Metadata, key)} there");
            throw new CheckpointException(
                _path,
                keys[0],
                $"the folder holds the state of another run: {string.Join("; ", differences)}. Resume that run with its own settings, use "
                    + "another folder, or remove this one.");
        }
    }
}
