using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace DispLlm.Experiments;

/// <summary>
/// Caches selections, and figures that were measured of them, in a folder, since some take hours. The key of a selection is everything that
/// determines it: the strategy with its options, the layout, the fraction, the seed, the model, the text and the compute type. The seconds
/// of a cached row are those of reading it.
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

    public SelectionOutcome? Find(ISelectionStrategy strategy, PruningLayout layout, double keep, long seed, GateLayout gates)
    {
        string name = Name(strategy, layout, keep, seed);
        return File.Exists(name + ".json") && File.Exists(name + ".scores")
            ? new SelectionOutcome(
                SelectionPlan.Load(name + ".json"),
                new SelectionScores(gates, MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(name + ".scores"))), [])
            : null;
    }

    public void Save(ISelectionStrategy strategy, PruningLayout layout, double keep, long seed, SelectionOutcome outcome)
    {
        string name = Name(strategy, layout, keep, seed);
        File.WriteAllBytes(name + ".scores", MemoryMarshal.AsBytes(outcome.Scores.Values));
        outcome.Plan.Save(name + ".json");
    }

    /// <summary>The figures that were measured of something; null where they were not.</summary>
    /// <param name="key">All that the figures follow from.</param>
    public double[]? FindFigures(string key) => File.Exists(FiguresFile(key))
        ? [.. File.ReadAllLines(FiguresFile(key)).Select(line => double.Parse(line, CultureInfo.InvariantCulture))] : null;

    public void SaveFigures(string key, double[] figures) =>
        File.WriteAllLines(FiguresFile(key), figures.Select(figure => figure.ToString("R", CultureInfo.InvariantCulture)));

    private string FiguresFile(string key) => Path.Combine(_folder, Hash(key) + ".figures");

    private static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))[..16];

    private string Name(ISelectionStrategy strategy, PruningLayout layout, double keep, long seed)
    {
        string key = string.Create(
            CultureInfo.InvariantCulture,
            $"{strategy} | {layout} | {keep} | {seed} | {Path.GetFullPath(_settings.Model)} | {Path.GetFullPath(_settings.Calibration)} | "
                + $"{_settings.Type} | {_settings.Characters} | {_settings.Samples}");
        return Path.Combine(_folder, Hash(key));
    }
}
