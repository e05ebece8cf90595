using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace DispLlm.Experiments;

/// <summary>
/// Caches selections in a folder, since some take hours. The key is everything that determines a selection: the strategy with its options,
/// the fraction, the seed, the model, the text and the compute type. The seconds of a cached row are those of reading it.
/// </summary>
internal sealed class SelectionCache
{
    private readonly string _folder;
    private readonly Settings _settings;

    public SelectionCache(string folder, Settings settings)
    {
        (_folder, _settings) = (folder, settings);
        Directory.CreateDirectory(folder);
    }

    public SelectionOutcome? Find(ISelectionStrategy strategy, double keep, long seed, GateLayout layout)
    {
        string name = Name(strategy, keep, seed);
        return File.Exists(name + ".json") && File.Exists(name + ".scores")
            ? new SelectionOutcome(
                SelectionPlan.Load(name + ".json"),
                new SelectionScores(layout, MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(name + ".scores"))), [])
            : null;
    }

    public void Save(ISelectionStrategy strategy, double keep, long seed, SelectionOutcome outcome)
    {
        string name = Name(strategy, keep, seed);
        File.WriteAllBytes(name + ".scores", MemoryMarshal.AsBytes(outcome.Scores.Values));
        outcome.Plan.Save(name + ".json");
    }

    private string Name(ISelectionStrategy strategy, double keep, long seed)
    {
        string key = string.Create(
            CultureInfo.InvariantCulture,
            $"{strategy} | {keep} | {seed} | {Path.GetFullPath(_settings.Model)} | {Path.GetFullPath(_settings.Calibration)} | "
                + $"{_settings.Type}");
        return Path.Combine(_folder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))[..16]);
    }
}
